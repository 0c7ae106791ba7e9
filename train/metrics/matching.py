"""Pairing predictions with references, one to one and in order of time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def best_in_order(worth: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
    """The one-to-one pairing of rows and columns that keeps their order and has the largest sum.

    best[i, j] = max(best[i-1, j], best[i, j-1], best[i-1, j-1] + worth[i-1, j-1]), the dynamic
    programme of Fujita et al., "SODA" (ECCV 2020), section 3; a row at a time, no recursion.

    Args:
        worth: (R, P), not negative.

    Returns:
        The sum and its pairs (row, column) in order; pairs whose worth is 0 are left out.
    """
    rows, columns = worth.shape
    best = np.zeros((rows + 1, columns + 1))
    for i in range(rows):
        with_this = np.maximum(best[i, 1:], best[i, :-1] + worth[i])  # (P,)
        best[i + 1, 1:] = np.maximum.accumulate(with_this)
    pairs = []
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return float(best[rows, columns]), pairs[::-1]


def published_pairs(worth: np.ndarray) -> list[tuple[int, int]]:
    """The pairs along which the published SODA program scores a and b.

    From the last row to the first, it takes a column to the left of those already taken: the last one
    where pairing scores more than skipping the row or the column, whether or not the best matching goes
    through there. In the first row, the first column always counts as such.

    Args:
        worth: (R, P), R and P at least 1, not negative.
    """
    rows, columns = worth.shape
    best = np.zeros(columns)  # of the row before
    paired = np.zeros((rows, columns), dtype=bool)
    for i in range(rows):
        pairing = worth[i] + (np.append(0.0, best[:-1]) if i else 0.0)  # (P,)
        now = np.maximum.accumulate(np.maximum(best, pairing))
        paired[i] = pairing > np.append(-1.0, now[:-1])  # better than skipping the prediction
        if i:
            paired[i] &= pairing > best  # and better than skipping the reference
        best = now
    pairs: list[tuple[int, int]] = []
    stop = columns
    for i in range(rows - 1, -1, -1):
        places = np.flatnonzero(paired[i, :stop])
        if len(places):
            stop = int(places[-1])
            pairs.append((i, stop))
            if stop == 0:
                break
    return pairs[::-1]


def longest_common(a: Sequence[Hashable | None], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence (Wagner & Fischer 1974); a None matches nothing."""
    best = np.zeros(len(b) + 1, dtype=int)
    places: dict[Hashable, np.ndarray] = {
        item: np.array([item == other for other in b], dtype=bool)
        for item in {*a}
        if item is not None
    }
    for item in a:
        if item is None or not places[item].any():
            continue
        with_this = np.maximum(best[1:], best[:-1] + places[item])
        best[1:] = np.maximum.accumulate(with_this)
    return int(best[-1])
