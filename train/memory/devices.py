"""What one of several devices holds of an estimate, as accelerate shares a model among them."""

from __future__ import annotations

import os
from dataclasses import replace

from train.memory.estimate import Estimate
from train.model.sharding import sharding

STATES = ("gradients", "optimizer")
WEIGHTS = ("weights", "adapter")


def per_device(whole: Estimate) -> Estimate:
    """The estimate for one device. Activations are not divided: each device has its own videos."""
    how, devices = sharding(), int(os.environ.get("WORLD_SIZE", "1"))
    if how is None and devices == 1:
        return whole
    if how is None:  # DDP copies gradients into buckets to send them
        parts = {**whole.parts, "DDP buckets": whole.gradient_bytes}
        return replace(whole, parts=parts, peak_bytes=sum(parts.values()))
    shared = STATES if how == "ZeRO-2" else (*WEIGHTS, *STATES)
    parts = {n: -(-size // devices) if n in shared else size for n, size in whole.parts.items()}
    if how != "ZeRO-2":
        parts["gathered weights"] = whole.gathered_bytes
    return replace(whole, parts=parts, peak_bytes=sum(parts.values()))
