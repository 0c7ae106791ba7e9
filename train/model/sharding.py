"""Sharding of a model over several devices, as set up by `accelerate launch`."""

from __future__ import annotations

import os
import re
from typing import Literal

import torch

Sharding = Literal["FSDP", "ZeRO-2", "ZeRO-3"]


def sharding() -> Sharding | None:
    """The method that shards the model over devices; None: each device holds all of it."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "FSDP"
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    return "ZeRO-3" if stage == "3" else "ZeRO-2" if stage == "2" else None


def weights_are_sharded() -> bool:
    """Whether no device holds all weights."""
    return sharding() in ("FSDP", "ZeRO-3")


def gathered_bytes(model: torch.nn.Module) -> int:
    """Bytes of sharded weights that are gathered on each device at once: all weights outside of the
    layers, and two layers, of which one computes while the next arrives."""
    outside = 0
    layers: dict[str, int] = {}
    for name, weight in model.named_parameters():
        size = weight.numel() * weight.element_size()
        if (layer := re.search(r".*\.layers\.\d+\.", name)) is None:
            outside += size
        else:
            layers[layer[0]] = layers.get(layer[0], 0) + size
    return outside + 2 * max(layers.values(), default=0)
