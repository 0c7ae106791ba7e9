"""Are events where they should be in time? Temporal intersection over union (tIoU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from data.sample import Event, Stated

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
"""Of the ActivityNet dense captioning task (Krishna et al., ICCV 2017)."""
LATE_S = 1.0
"""An end this far behind the video's is rounding: the clock of a timeline has whole seconds."""


def _spans(events: Sequence[Stated]) -> np.ndarray:
    return np.array([(e.start_s, e.end_s) for e in events], dtype=float).reshape(-1, 2)


PUBLISHED = 1e-8
"""What the published programs add to every union: a pair that overlaps by exactly .9 is below .9."""


def tious(
    reference: Sequence[Stated], predicted: Sequence[Stated], epsilon: float = 0.0
) -> np.ndarray:
    """Overlap ÷ union of every pair: (R, P), 0 to 1. The union is what both cover, without a gap
    between them (they overlap) or with one (then the overlap is 0 anyway, as it is of an event whose
    end is not behind its start; with those `epsilon` must not be 0)."""
    a, b = _spans(reference)[:, None], _spans(predicted)[None]  # (R, 1, 2), (1, P, 2)
    overlap = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    union = np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0])
    return np.maximum(overlap, 0.0) / (union + epsilon)  # (R, P)


def tiou(a: Event, b: Event) -> float:
    """Length of the overlap ÷ length of the union, 0 to 1."""
    return float(tious([a], [b])[0, 0])


def tiou_f1(
    predicted: Sequence[Event], reference: Sequence[Event], threshold: float = 0.5
) -> float:
    """F1 of the largest one-to-one matching of events with tIoU >= threshold, for one video.

    Two empty lists agree (1.0); one empty list scores 0.
    """
    if not predicted or not reference:
        return float(not predicted and not reference)
    hits = tious(reference, predicted) >= threshold  # (R, P)
    rows, columns = linear_sum_assignment(-hits.astype(int))
    matched = int(hits[rows, columns].sum())
    return 2 * matched / (len(predicted) + len(reference))


def matched(overlaps: np.ndarray, threshold: float, *, strict: bool = True) -> tuple[float, float]:
    """Recall and precision of one video as the ActivityNet evaluation has them: an event is found
    if any of the other list lies on it, several may share one.

    Args:
        overlaps: tIoU, (R, P) with R >= 1. Without predictions both are 0.
        strict: True: tIoU > threshold (the localisation scores of densevid_eval);
            False: tIoU >= threshold (temporal grounding, and the caption pairs of densevid_eval).
    """
    if overlaps.size == 0:
        return 0.0, 0.0
    hits = overlaps > threshold if strict else overlaps >= threshold  # (R, P)
    return float(hits.any(axis=1).mean()), float(hits.any(axis=0).mean())


def f1(recall: float, precision: float) -> float:
    """Harmonic mean; 0 where both are 0."""
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def boundary_error_s(overlaps: np.ndarray, a: Sequence[Event], b: Sequence[Event]) -> float:
    """Mean distance of starts and ends, in seconds, over the one-to-one pairs of the largest total
    tIoU that overlap at all; NaN where none do."""
    rows, columns = linear_sum_assignment(-overlaps)
    errors = [
        abs(a[i].start_s - b[j].start_s) / 2 + abs(a[i].end_s - b[j].end_s) / 2
        for i, j in zip(rows, columns, strict=True)
        if overlaps[i, j] > 0
    ]
    return float(np.mean(errors)) if errors else float("nan")


@dataclass(frozen=True)
class Validity:
    """Are the times of an answer usable at all? Shares, 0 to 1."""

    parsable: float
    """Of lines (or entries) that should carry times."""
    inside: float
    """Of events that end with the video, or a second after it."""
    ordered: float
    """Of events that do not start before the one said before them."""


def validity(said: Sequence[Event], unusable: int, duration_s: float) -> Validity:
    """`said` in the order it was said; `unusable`: how many entries had no usable times.

    An empty answer is not valid: 0 in all three.
    """
    if not said:
        return Validity(0.0, 0.0, 0.0)
    starts = [e.start_s for e in said]
    in_order = [later >= before for before, later in pairwise(starts)]
    return Validity(
        parsable=len(said) / (len(said) + unusable),
        inside=float(np.mean([e.end_s <= duration_s + LATE_S for e in said])),
        ordered=float(np.mean([True, *in_order])),
    )


def covered(events: Sequence[Event], duration_s: float) -> float:
    """Share of the video's time that some event tells about."""
    total, reached = 0.0, 0.0
    for event in sorted(events, key=lambda e: e.start_s):
        start, end = max(event.start_s, reached), min(event.end_s, duration_s)
        total += max(0.0, end - start)
        reached = max(reached, end)
    return min(1.0, total / duration_s)
