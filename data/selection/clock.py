"""Frames by the clock alone: known before a single one is decoded."""

from __future__ import annotations

import numpy as np

from data.keys import FrameKeys

CLOCK_POLICIES = ("uniform", "fps", "smolvlm")


def by_clock(times_s: np.ndarray, duration_s: float, keys: FrameKeys) -> np.ndarray:
    """Frame times (N,) → the increasing indices that a policy of `CLOCK_POLICIES` takes."""
    if keys.policy == "smolvlm":
        return _smolvlm(len(times_s), duration_s, keys)
    count = max(1, round(duration_s * keys.fps))
    if keys.policy == "uniform" or count > keys.max:
        return nearest(times_s, middles(duration_s, keys.max))
    return nearest(times_s, (np.arange(count) + 0.5) / keys.fps)


def _smolvlm(total: int, duration_s: float, keys: FrameKeys) -> np.ndarray:
    """transformers' `SmolVLMVideoProcessor.sample_frames`: it counts in frames at the mean rate."""
    mean_fps = total / duration_s
    wanted = max(1, min(round(keys.fps * duration_s), keys.max))
    start, end = 0, total - 1
    if duration_s - 2 > keys.max * keys.fps:
        start, end = int(mean_fps), min(int(total - mean_fps), total - 1)
    if start >= end:
        start, end = 0, total - 1
    return np.unique(np.linspace(start, end, wanted, dtype=int))


def middles(duration_s: float, count: int) -> np.ndarray:
    """(count,) the middles of equal spans."""
    return (np.arange(count) + 0.5) * duration_s / count


def nearest(times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """The frames nearest to the wanted times, each once: the earlier of two equally near."""
    right = np.searchsorted(times_s, wanted_s).clip(1, max(1, len(times_s) - 1))
    left = right - 1
    right = np.minimum(right, len(times_s) - 1)
    return np.unique(np.where(wanted_s - times_s[left] <= times_s[right] - wanted_s, left, right))
