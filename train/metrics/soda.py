"""SODA: are the right events described, in the right order, at the right time? (Fujita et al., ECCV 2020)

Written from the published definition. Predictions and references are sorted by time and matched one to
one in order; with I the tIoU and S the text score of a pair,

    c  the matching with the largest sum of I·S, scored by it     (the one that is reported)
    d  the matching with the largest sum of I, scored by it
    b  d's matching, scored by the sum of S
    a  b with I below .3, .5, .7, .9 taken as 0, averaged over the four

precision = sum ÷ predictions, recall = sum ÷ references, F1 their harmonic mean; each is averaged over
videos. The published program differs in ways that change its figures; `compat=True` reproduces them.

SodaM (Yao et al., TimeChat-Captioner, ICML 2026) does not punish a finer timeline. It begins with d's
matching. Every unmatched prediction then joins the matched reference before or after it, whichever it
overlaps more. The texts of a group are joined and scored against the group's reference.

    m  precision = sum of S ÷ groups, recall = sum of S ÷ references

In SodaM, times only decide the groups, so it is reported beside c and does not replace it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Stated
from train.metrics.grounding import PUBLISHED, THRESHOLDS, f1, tious
from train.metrics.matching import best_in_order, published_pairs
from train.metrics.text import PairScore


@dataclass(frozen=True)
class Soda:
    """Precision, recall and F1 of each variant for one video."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]
    c: tuple[float, float, float]
    d: tuple[float, float, float]
    pairs: tuple[tuple[int, int], ...] = ()
    """The pairs (reference, prediction) that c matched; each number is a place in order of time."""


_ZERO = (0.0, 0.0, 0.0)
TIE = 1e-9
"""Weight of the text score in choosing between matchings of equal overlap."""
NOTHING = Soda(_ZERO, _ZERO, _ZERO, _ZERO)
"""The scores of a video without predictions."""


def in_time(events: Sequence[Stated], *, compat: bool = False) -> list[Stated]:
    """The events sorted by time, then by text, so that the order given does not matter. With `compat`,
    they are sorted by start alone, and events with equal starts keep the order given."""
    if compat:
        return sorted(events, key=lambda e: e.start_s)
    return sorted(events, key=lambda e: (e.start_s, e.end_s, e.text))


def soda(
    predicted: Sequence[Stated],
    reference: Sequence[Stated],
    score: PairScore,
    *,
    compat: bool = False,
) -> Soda:
    """SODA a, b, c and d of one video.

    Args:
        reference: at least one event.
        score: of (prediction, reference) texts, 0 to 1.
        compat: do as the published program: events with equal starts keep the order given, `score` gets
            (reference, prediction), and a and b are scored along the pairs that it reads from its table.
            These are not always the best ones. They may pair the first reference with the first
            prediction however far apart the two are.
    """
    if not predicted:
        return NOTHING
    said, true = in_time(predicted, compat=compat), in_time(reference, compat=compat)
    overlaps = tious(true, said, PUBLISHED if compat else 0.0)  # (R, P)
    wanted = overlaps > 0
    wanted[0, 0] |= compat
    similar = np.zeros_like(overlaps)  # (R, P)
    places = np.argwhere(wanted)
    texts = [(said[j].text, true[i].text) for i, j in places]
    if compat:
        texts = [(b, a) for a, b in texts]
    if texts:
        similar[wanted] = score(texts)

    def shares(total: float) -> tuple[float, float, float]:
        return _shares(total, len(said), len(true))

    def along(worth: np.ndarray) -> float:
        # of matchings with equal overlap, take the one whose texts agree more; otherwise the result
        # would depend on which side is called the reference
        ties = TIE * similar * (worth > 0)
        pairs = published_pairs(worth) if compat else best_in_order(worth + ties)[1]
        return sum(float(similar[pair]) for pair in pairs)

    at_least = [along(np.where(overlaps >= t, overlaps, 0.0)) for t in THRESHOLDS]
    both, pairs = best_in_order(overlaps * similar)
    return Soda(
        a=shares(float(np.mean(at_least))),
        b=shares(along(overlaps)),
        c=shares(both),
        d=shares(best_in_order(overlaps)[0]),
        pairs=tuple(pairs),
    )


def soda_m(
    predicted: Sequence[Stated], reference: Sequence[Stated], score: PairScore
) -> tuple[float, float, float]:
    """SodaM of one video: precision, recall, F1.

    Args:
        reference: at least one event.
        score: of (prediction, reference) texts, 0 to 1.
    """
    said, true = in_time(predicted), in_time(reference)
    overlaps = tious(true, said)  # (R, P)
    merged = groups(overlaps, best_in_order(overlaps)[1]) if said else {}
    if not merged:
        return _ZERO
    together = [(" ".join(said[j].text for j in js), true[i].text) for i, js in merged.items()]
    return _shares(float(score(together).sum()), len(merged), len(true))


def _shares(total: float, said: int, true: int) -> tuple[float, float, float]:
    precision, recall = total / said, total / true
    return precision, recall, f1(recall, precision)


def groups(overlaps: np.ndarray, matched: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """Reference → its predictions, for SodaM: the matched one, and unmatched ones before and after it.

    Args:
        overlaps: tIoU, (R, P).
        matched: pairs (reference, prediction) in order.
    """
    found: dict[int, list[int]] = {i: [] for i, _ in matched}
    anchors = [j for _, j in matched]
    for j in range(overlaps.shape[1] if matched else 0):
        behind = bisect_left(anchors, j)  # the first match that is not before j
        near = matched[behind : behind + 1]
        begun = near and (near[0][1] == j or found[near[0][0]])
        if not begun:
            near = [*matched[max(0, behind - 1) : behind], *near]
        share = [float(overlaps[i, j]) for i, _ in near]
        found[near[share.index(max(share))][0]].append(j)
    return found
