"""Chooses frames by their timestamps alone, before any frame is decoded."""

from __future__ import annotations

import numpy as np

from data.selection.config import FrameKeys
from data.selection.measure.played import LONG_S, played_s


def by_clock(times_s: np.ndarray, duration_s: float, keys: FrameKeys) -> np.ndarray:
    """Frame times (N,) → increasing indices of the frames that `uniform`, `fps`, `smolvlm` choose."""
    if keys.policy == "smolvlm":
        return _smolvlm(len(times_s), duration_s, keys)
    count = max(1, round(duration_s * keys.fps))
    if keys.policy == "uniform" or count > keys.max:
        return _evenly(times_s, duration_s, keys.max)
    return nearest(times_s, (np.arange(count) + 0.5) / keys.fps)


def _evenly(times_s: np.ndarray, duration_s: float, most: int) -> np.ndarray:
    """The frames at the middles of `most` equal spans. If gaps without frames make that fewer than `most`
    frames, the spans are those of the time without gaps."""
    found = nearest(times_s, middles(duration_s, most))
    if len(found) >= min(most, len(times_s)):
        return found
    played = played_s(times_s)
    last_s = min(duration_s - times_s[-1], LONG_S)
    return max(found, nearest(played, middles(played[-1] + last_s, most)), key=len)


def _smolvlm(total: int, duration_s: float, keys: FrameKeys) -> np.ndarray:
    """Indices by transformers' `SmolVLMVideoProcessor.sample_frames`: it counts frames at the mean rate."""
    mean_fps = total / duration_s
    wanted = max(1, min(round(keys.fps * duration_s), keys.max))
    start, end = 0, total - 1
    if duration_s - 2 > keys.max * keys.fps:
        start, end = int(mean_fps), min(int(total - mean_fps), total - 1)
    if start >= end:
        start, end = 0, total - 1
    return np.unique(np.linspace(start, end, wanted, dtype=int))


def middles(duration_s: float, count: int) -> np.ndarray:
    """(count,) the middles of `count` equal spans of the duration."""
    return (np.arange(count) + 0.5) * duration_s / count


def nearest(times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Indices of the frames nearest to the wanted times, each once; of two equally near, the earlier."""
    right = np.searchsorted(times_s, wanted_s).clip(1, max(1, len(times_s) - 1))
    left = right - 1
    right = np.minimum(right, len(times_s) - 1)
    return np.unique(np.where(wanted_s - times_s[left] <= times_s[right] - wanted_s, left, right))
