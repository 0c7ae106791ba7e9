"""What a frame adds to a description, as a selector has learned."""

from __future__ import annotations

import numpy as np
import torch

from data.selection.learned.network import TickNet, ValueNet
from data.selection.learned.ticks import Ticks

LEAST = 1e-3
"""Least worth of a frame: where nothing is worth much, frames are still spread."""


@torch.inference_mode()
def values_of(network: ValueNet, ticks: Ticks) -> np.ndarray:
    """(T,) value of each tick's frame, `LEAST` to 1."""
    logits = run(network, ticks)[:, 0]
    return np.asarray(logits.sigmoid().clamp(min=LEAST))


def run(network: TickNet, ticks: Ticks) -> torch.Tensor:
    """The T ticks of one video → (T, n) the network's numbers."""
    told, pictures, times_s = (
        torch.from_numpy(a)[None] for a in (ticks.told, ticks.pictures, ticks.times_s)
    )
    return network(told, pictures, times_s)[0]
