"""Prepared examples to a fine-tuned SmolVLM2."""
