"""SODA: are the right events told, in the right order, at the right time? (Fujita et al., ECCV 2020)

Written from the published definition. Events of both sides are sorted by time and matched one to
one in order; with I the tIoU and S the text score of a pair,

    c  the matching with the largest sum of I·S, scored by it     (the one that is reported)
    d  the matching with the largest sum of I, scored by it
    b  d's matching, scored by the sum of S
    a  b with I below .3, .5, .7, .9 taken as 0, averaged over the four

precision = sum ÷ predictions, recall = sum ÷ references, F1 their harmonic mean; over videos the mean
of each. The published program differs in ways that change its figures; `compat=True` gives those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Event
from train.metrics.grounding import PUBLISHED, THRESHOLDS, f1, tious
from train.metrics.matching import best_in_order
from train.metrics.text import PairScore


@dataclass(frozen=True)
class Soda:
    """Precision, recall and F1 of each variant for one video."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]
    c: tuple[float, float, float]
    d: tuple[float, float, float]
    pairs: tuple[tuple[int, int], ...] = ()
    """What c matched: (reference, prediction), each by its place in time."""


_ZERO = (0.0, 0.0, 0.0)
TIE = 1e-9
"""Weight of a text score where overlaps are equal."""
NOTHING = Soda(_ZERO, _ZERO, _ZERO, _ZERO)
"""A video about which nothing was said."""


def in_time(events: Sequence[Event]) -> list[Event]:
    """Sorted, equal starts too, so that the order they were given in does not matter."""
    return sorted(events, key=lambda e: (e.start_s, e.end_s, e.text))


def soda(
    predicted: Sequence[Event],
    reference: Sequence[Event],
    score: PairScore,
    *,
    compat: bool = False,
) -> Soda:
    """SODA a, b, c and d of one video.

    Args:
        reference: at least one event.
        score: of (prediction, reference) texts, 0 to 1.
        compat: as the published program does: `score` gets (reference, prediction), and a and b
            also count the first two events wherever the matching leaves both of them free, even
            if they are far apart.
    """
    if not predicted:
        return NOTHING
    said, true = in_time(predicted), in_time(reference)
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
        precision, recall = total / len(said), total / len(true)
        return precision, recall, f1(recall, precision)

    def along(worth: np.ndarray) -> float:
        # of matchings that overlap as much, the one whose texts agree more: else which side is which
        # would decide
        ties = 0.0 if compat else TIE * similar * (worth > 0)
        pairs = best_in_order(worth + ties)[1]
        if compat and (not pairs or min(pairs[0]) > 0):
            pairs = [(0, 0), *pairs]
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
