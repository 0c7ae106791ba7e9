"""What a frame adds to a description, as a selector has learned."""

from __future__ import annotations

import math

import numpy as np
import torch

from data.selection.learned.network import TickNet, ValueNet
from data.selection.learned.ticks import Ticks

LEAST = 1e-3
"""Least worth of a frame: where nothing is worth much, frames are still spread."""
RATES = (0.05, 0.5)
"""Fewest and most changes a second within a shot. Subsets of few frames hardly tell: without bounds the network
thinks a whole shot is said by one frame, and that six of a distraction are all new."""


@torch.inference_mode()
def values_of(network: ValueNet, ticks: Ticks) -> tuple[np.ndarray, np.ndarray]:
    """(T,) value of each tick's frame, `LEAST` to 1; (T,) cumulative hazard of changes within shots."""
    numbers = run(network, ticks)
    hazard = cumulative_hazard(numbers, torch.from_numpy(ticks.times_s))
    return np.asarray(numbers[:, 0].sigmoid().clamp(min=LEAST)), np.asarray(hazard)


def worth_of(values: np.ndarray, hazard: np.ndarray) -> float:
    """What a choice of frames is worth together: their values, each less the share that the frame before has shown.

    Args:
        values: (K,) of the frames, in time order.
        hazard: (K,) cumulative hazard of changes, at cuts and within shots.
    """
    repeated = np.exp(hazard[:-1] - hazard[1:])
    return float(values.sum() - (values[1:] * repeated).sum())


def cumulative_hazard(numbers: torch.Tensor, times_s: torch.Tensor) -> torch.Tensor:
    """(T, 3) numbers of a `ValueNet`, (T,) → (T,): two frames between which it grows by h, with no cut between
    them, show the same with probability exp(-h)."""
    seconds = times_s.float().diff(prepend=times_s[:1].float())
    low, high = map(math.log, RATES)
    rates = torch.exp((low + high) / 2 + (high - low) / 2 * numbers[:, 1].tanh())  # (T,)
    return (rates * seconds).cumsum(dim=0)


def run(network: TickNet, ticks: Ticks) -> torch.Tensor:
    """The T ticks of one video → (T, n) the network's numbers."""
    told, pictures, times_s = (
        torch.from_numpy(a)[None] for a in (ticks.told, ticks.pictures, ticks.times_s)
    )
    return network(told, pictures, times_s)[0]
