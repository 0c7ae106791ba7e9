"""From a shot detector's scores to what `allocate` takes: probabilities of a boundary, and candidates."""

from __future__ import annotations

import numpy as np

from data.selection.policies.allocate import likely_cuts


def boundary_probability(score: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(N,) transition scores of 0 to 1 → (N,) probability that a shot ends with each frame.

    Only the highest score within 0.11 s counts, so that a change counts once; its logit is multiplied by
    0.8 and increased by 1 (fitted as `allocate`'s constants). The last frame gets 0.
    """
    count = len(score)
    step_s = max(float(times_s[-1] - times_s[0]), 1e-9) / max(count - 1, 1)
    reach = min(max(1, round(0.11 / step_s)), count)
    padded = np.pad(score.astype(np.float64), reach, constant_values=-1.0)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    peaks = np.flatnonzero(score[:-1] >= highest[:-1])
    peaks = peaks[np.diff(peaks, prepend=-reach - 1) > reach]  # the first frame of a plateau
    odds = np.clip(score[peaks].astype(np.float64), 1e-6, 1 - 1e-3)
    probability = np.zeros(count)
    probability[peaks] = 0.99 / (1 + np.exp(-1.0) * ((1 - odds) / odds) ** 0.8)
    return probability


def even_candidates(probability: np.ndarray, times_s: np.ndarray, budget: int) -> np.ndarray:
    """(C,) frame indices: each stretch between likely boundaries is divided into equal parts, each about
    half the budget's spacing long, and the middle of each part is a candidate."""
    count = len(probability)
    duration_s = max(float(times_s[-1] - times_s[0]), 1e-9)
    ends = np.unique(np.r_[0, likely_cuts(probability) + 1, count])
    num_frames = np.diff(ends)
    bounds_s = np.r_[times_s, times_s[-1] + duration_s / max(1, count - 1)][ends]
    parts = np.clip(np.rint(np.diff(bounds_s) / (duration_s / (2 * budget))), 1, num_frames)
    middles = [
        np.ceil(start + (np.arange(n) + 0.5) * frames / n).astype(np.int64) - 1
        for start, frames, n in zip(ends, num_frames, parts.astype(np.int64), strict=False)
    ]
    return np.unique(np.concatenate(middles))
