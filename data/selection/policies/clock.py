"""Frames by the clock alone: known before a single one is decoded."""

from __future__ import annotations

import numpy as np

from data.selection.config import FrameKeys

LONG_S, LONG_STEPS = 2.0, 8
"""Between two frames; and as many of the usual steps: longer is a time in which nothing was recorded."""


def by_clock(times_s: np.ndarray, duration_s: float, keys: FrameKeys) -> np.ndarray:
    """Frame times (N,) → the increasing indices that a policy whose candidates are known by the clock takes."""
    if keys.policy == "smolvlm":
        return _smolvlm(len(times_s), duration_s, keys)
    count = max(1, round(duration_s * keys.fps))
    if keys.policy == "uniform" or count > keys.max:
        return _evenly(times_s, duration_s, keys.max)
    return nearest(times_s, (np.arange(count) + 0.5) / keys.fps)


def played_s(times_s: np.ndarray) -> np.ndarray:
    """(N,) frame times → the same with gaps cut short in which no frame is: a recorder stood still, or one
    stray frame comes hours later. What is spread over this is spread over frames that exist."""
    steps = np.diff(times_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    return np.r_[
        times_s[:1], times_s[0] + np.cumsum(np.minimum(steps, max(LONG_S, LONG_STEPS * usual)))
    ]


def _evenly(times_s: np.ndarray, duration_s: float, most: int) -> np.ndarray:
    """Middles of equal spans; where gaps leave too few frames for that, of equal spans without them."""
    found = nearest(times_s, middles(duration_s, most))
    if len(found) >= min(most, len(times_s)):
        return found
    played = played_s(times_s)
    last_s = min(duration_s - times_s[-1], LONG_S)
    return max(found, nearest(played, middles(played[-1] + last_s, most)), key=len)


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
