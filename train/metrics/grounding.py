"""Are events where they should be in time? Temporal intersection over union (tIoU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from data.sample import Event, Stated

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
"""The tIoU thresholds of the ActivityNet dense captioning task (Krishna et al., ICCV 2017)."""
LATE_S = 1.0
"""An event may end so long after the video: a timeline's clock has whole seconds, so ends are rounded."""


def _spans(events: Sequence[Stated]) -> np.ndarray:
    return np.array([(e.start_s, e.end_s) for e in events], dtype=float).reshape(-1, 2)


PUBLISHED = 1e-8
"""The published programs add this to every union: a pair that overlaps by exactly .9 is below .9."""


def tious(
    reference: Sequence[Stated], predicted: Sequence[Stated], epsilon: float = 0.0
) -> np.ndarray:
    """tIoU of every pair, overlap ÷ union: (R, P), 0 to 1.

    The union is the time from the earlier start to the later end. If the two do not overlap, it includes
    the gap between them, but then the tIoU is 0 anyway. The tIoU of an event that does not end after its
    start is 0, too; with such events, `epsilon` must not be 0.
    """
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
    """Recall and precision of one video, as the ActivityNet evaluation defines them: an event is found if
    its tIoU with any event of the other list is high enough. Several may share one event.

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
    """Mean distance of starts and ends, in seconds, over the pairs that overlap in the one-to-one matching
    with the largest total tIoU; NaN if there are none."""
    rows, columns = linear_sum_assignment(-overlaps)
    errors = [
        abs(a[i].start_s - b[j].start_s) / 2 + abs(a[i].end_s - b[j].end_s) / 2
        for i, j in zip(rows, columns, strict=True)
        if overlaps[i, j] > 0
    ]
    return float(np.mean(errors)) if errors else float("nan")


@dataclass(frozen=True)
class Validity:
    """How usable the times of an answer are. Shares, 0 to 1."""

    parsable: float
    """Share of the lines (or entries) with usable times."""
    inside: float
    """Share of the events that end at most `LATE_S` after the video."""
    ordered: float
    """Share of the events that do not start before the previous one."""


def validity(said: Sequence[Event], unusable: int, duration_s: float) -> Validity:
    """The validity of an answer's times. An answer without events scores 0 in all three shares.

    Args:
        said: its events, in the order of the answer.
        unusable: number of entries without usable times.
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
    """Share of the video's time that is covered by at least one event."""
    total, reached = 0.0, 0.0
    for event in sorted(events, key=lambda e: e.start_s):
        start, end = max(event.start_s, reached), min(event.end_s, duration_s)
        total += max(0.0, end - start)
        reached = max(reached, end)
    return min(1.0, total / duration_s)
