"""Kernel temporal segmentation: finds changes of content, also within a shot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import in_order

MOST_POINTS = 1000  # the kernel is quadratic in them


def kts(signals: Signals, keys: FrameKeys) -> Selection:
    """The middle frame of each segment, with at most `max` segments. The features are the candidates'
    9 × 16 pictures."""
    frames = signals.candidates
    if len(frames) > MOST_POINTS:
        frames = frames[np.linspace(0, len(frames) - 1, MOST_POINTS).astype(np.int64)]
    features = unit_pictures(signals.small[frames])
    edges = [0, *change_points(features, keys.max - 1), len(frames)]
    middles = [frames[(a + b - 1) // 2] for a, b in pairwise(edges)]
    return in_order(signals, middles, "middle of a segment")


def unit_pictures(small: np.ndarray) -> np.ndarray:
    """(C, 3, 9, 16) → (C, 432) unit vectors of the pictures minus mid-grey."""
    flat = small.reshape(len(small), -1).astype(np.float64) - 128
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9))


def change_points(features: np.ndarray, most: int, penalty: float = 1.0) -> list[int]:
    """Features (C, D) → indices where a new segment begins, at most `most`.

    Potapov et al., ECCV 2014: dynamic programming minimises the within-segment scatter J, and the number
    of change points m minimises J / C + penalty · m / 2C · (ln(C / m) + 1).
    """
    count = len(features)
    most = min(most, count - 1)
    if most < 1:
        return []
    kernel = features @ features.T
    corner = np.zeros((count + 1, count + 1))
    corner[1:, 1:] = kernel.cumsum(axis=0).cumsum(axis=1)
    own = np.r_[0.0, np.diagonal(kernel).cumsum()]
    i, j = np.ogrid[: count + 1, : count + 1]
    block = corner[j, j] + corner[i, i] - corner[i, j] - corner[j, i]  # sum over i..j
    scatter = own[j] - own[i] - block / np.maximum(j - i, 1)  # (C + 1, C + 1) of segment [i, j)
    scatter[j <= i] = np.inf
    cost = scatter[0].copy()  # best cost of the first j frames in m + 1 segments
    costs, back = [cost[count]], []
    for _ in range(most):
        total = cost[:, None] + scatter
        back.append(total.argmin(axis=0))
        cost = np.take_along_axis(total, back[-1][None], axis=0)[0]
        costs.append(cost[count])
    m = np.arange(1, most + 1)
    price = np.r_[0.0, penalty * m / (2 * count) * (np.log(count / m) + 1)]
    best = int((np.asarray(costs) / count + price).argmin())
    points, end = [], count
    for step in reversed(back[:best]):
        end = int(step[end])
        points.append(end)
    return points[::-1]
