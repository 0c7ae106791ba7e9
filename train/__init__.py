"""Prepared examples to a fine-tuned SmolVLM2."""

import logging
import warnings

# bitsandbytes recommends an optional kernel package each time it is imported on a CPU
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# transformers warns of its own old names, which TRL still needs
warnings.filterwarnings(
    "ignore", message=r".*gradient_checkpointing.* is deprecated", category=FutureWarning
)
