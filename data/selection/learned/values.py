"""What a frame adds to a description, as a selector has learned."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from data.selection.learned.network import TickNet, ValueNet
from data.selection.learned.ticks import Ticks

LEAST = 1e-3
"""Least worth of a frame: where nothing is worth much, frames are still spread."""
USUAL_RATE = -2.0
"""Of the logarithm of changes a second, about, where the network says nothing."""


@torch.inference_mode()
def values_of(network: ValueNet, ticks: Ticks) -> tuple[np.ndarray, np.ndarray]:
    """(T,) value of each tick's frame, `LEAST` to 1; (T,) cumulative hazard of changes within shots."""
    numbers = run(network, ticks)
    hazard = cumulative_hazard(numbers, torch.from_numpy(ticks.times_s))
    return np.asarray(numbers[:, 0].sigmoid().clamp(min=LEAST)), np.asarray(hazard)


def cumulative_hazard(numbers: torch.Tensor, times_s: torch.Tensor) -> torch.Tensor:
    """(T, 3) numbers of a `ValueNet`, (T,) → (T,): two frames between which it grows by h, with no cut between
    them, show the same with probability exp(-h)."""
    seconds = times_s.float().diff(prepend=times_s[:1].float())
    return (functional.softplus(numbers[:, 1] + USUAL_RATE) * seconds).cumsum(dim=0)


def run(network: TickNet, ticks: Ticks) -> torch.Tensor:
    """The T ticks of one video → (T, n) the network's numbers."""
    told, pictures, times_s = (
        torch.from_numpy(a)[None] for a in (ticks.told, ticks.pictures, ticks.times_s)
    )
    return network(told, pictures, times_s)[0]
