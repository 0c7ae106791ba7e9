"""What one device holds where several share a model out, as `accelerate launch` was asked to."""

from __future__ import annotations

import os
import re
from typing import Literal

import torch

Sharding = Literal["FSDP", "ZeRO-2", "ZeRO-3"]


def sharding() -> Sharding | None:
    """What shares the model out among devices; None: each holds all of it."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "FSDP"
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    return "ZeRO-3" if stage == "3" else "ZeRO-2" if stage == "2" else None


def weights_are_sharded() -> bool:
    """No device holds all weights."""
    return sharding() in ("FSDP", "ZeRO-3")


def gathered_bytes(model: torch.nn.Module) -> int:
    """Of weights that are whole on each device while they are at work: all outside of the layers,
    and two layers, of which one computes while the next arrives."""
    outside = 0
    layers: dict[str, int] = {}
    for name, weight in model.named_parameters():
        size = weight.numel() * weight.element_size()
        if (layer := re.search(r".*\.layers\.\d+\.", name)) is None:
            outside += size
        else:
            layers[layer[0]] = layers.get(layer[0], 0) + size
    return outside + 2 * max(layers.values(), default=0)
