"""The videos of a dataset that are most unlike each other."""

from __future__ import annotations

import numpy as np


def farthest_first(points: np.ndarray, count: int) -> list[int]:
    """Numbers of `count` points, increasing: first the one nearest to the mean of all, then always the one farthest from
    those chosen (Gonzalez 1985: its largest gap is at most twice the smallest possible).

    Args:
        points: (V, D)
    """
    if count >= len(points):
        return list(range(len(points)))
    points = np.asarray(points, np.float32)
    squares = (points**2).sum(axis=1)  # (V,)

    def away(i: int) -> np.ndarray:
        return np.maximum(squares + squares[i] - 2 * (points @ points[i]), 0)

    centre = points.mean(axis=0)
    chosen = [int(((points - centre) ** 2).sum(axis=1).argmin())]
    nearest = away(chosen[0])  # (V,)
    while len(chosen) < count:
        nearest[chosen[-1]] = -1.0  # equal points are still chosen once each
        chosen.append(int(nearest.argmax()))
        nearest = np.where(nearest < 0, nearest, np.minimum(nearest, away(chosen[-1])))
    return sorted(chosen)
