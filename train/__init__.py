"""From prepared examples to a fine-tuned SmolVLM2."""

import logging
import warnings

# bitsandbytes recommends an optional kernel package each time it is imported on a CPU
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# TRL still uses a name that transformers has deprecated
warnings.filterwarnings(
    "ignore", message=r".*gradient_checkpointing.* is deprecated", category=FutureWarning
)
