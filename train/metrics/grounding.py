"""Are events where they should be in time? Temporal intersection over union (tIoU)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from data.sample import Event


def tiou(a: Event, b: Event) -> float:
    """Length of the overlap ÷ length of the union, 0 to 1."""
    overlap = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    union = max(a.end_s, b.end_s) - min(a.start_s, b.start_s)
    return max(0.0, overlap) / union


def tiou_f1(
    predicted: Sequence[Event], reference: Sequence[Event], threshold: float = 0.5
) -> float:
    """F1 of the largest one-to-one matching of events with tIoU >= threshold, for one video.

    Two empty lists agree (1.0); one empty list scores 0.
    """
    if not predicted or not reference:
        return float(not predicted and not reference)
    hits = np.array([[tiou(p, r) >= threshold for r in reference] for p in predicted])  # (P, R)
    rows, columns = linear_sum_assignment(-hits.astype(int))
    matched = int(hits[rows, columns].sum())
    return 2 * matched / (len(predicted) + len(reference))
