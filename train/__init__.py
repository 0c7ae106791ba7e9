"""Prepared examples to a fine-tuned SmolVLM2."""

import logging

# bitsandbytes recommends an optional kernel package each time it is imported on a CPU
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
