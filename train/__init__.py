"""From prepared examples to a fine-tuned SmolVLM2."""

import logging
import warnings
from typing import TYPE_CHECKING, Any

# bitsandbytes recommends an optional kernel package each time it is imported on a CPU
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# TRL still uses a name that transformers has deprecated
warnings.filterwarnings(
    "ignore", message=r".*gradient_checkpointing.* is deprecated", category=FutureWarning
)

if TYPE_CHECKING:
    from train.api import describe, evaluate, load_run

__all__ = ["describe", "evaluate", "load_run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'train' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    from train import api

    return getattr(api, name)
