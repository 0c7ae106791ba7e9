"""Which rows are doubtful, and why: each of three signs, as deviations from the middle of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.inference.worth import Worth

NORMAL = 1.4826
"""Median absolute deviation of a normal distribution → its standard deviation."""
LEAST_SPREAD = 1e-3
"""Of a sign, in nats: where all rows are alike, nothing is far from them."""


@dataclass(frozen=True)
class Doubt:
    """How doubtful a row is."""

    worth: Worth
    deviations: float
    """Of its most doubtful sign."""
    reason: str


def doubts(worths: Sequence[Worth]) -> list[Doubt]:
    """All rows, the most doubtful first."""
    if not worths:
        return []
    own = np.array([one.own for one in worths])
    signs = [
        own - [one.blank for one in worths],
        own - [one.other for one in worths],
        own - [one.own if one.moved is None else one.moved for one in worths],
    ]
    far = np.stack([_deviations(np.asarray(sign)) for sign in signs])  # (3, R)
    far[2, [one.moved is None for one in worths]] = far.min() - 1  # nothing to be moved
    strongest = far.argmax(axis=0)
    found = [
        Doubt(one, float(far[strongest[i], i]), _reason(int(strongest[i]), one))
        for i, one in enumerate(worths)
    ]
    return sorted(found, key=lambda one: (-one.deviations, one.worth.id))


def _deviations(sign: np.ndarray) -> np.ndarray:
    middle = np.median(sign)
    spread = NORMAL * np.median(np.abs(sign - middle))
    return (sign - middle) / max(float(spread), LEAST_SPREAD)


def _reason(sign: int, one: Worth) -> str:
    if sign == 0:
        return f"its frames are worth {one.worth:+.2f} nats: the text may not be of this video"
    if sign == 1:
        return f"another video's frames fit it by {one.own - one.other:+.2f} nats: the text may be of another video"
    assert one.moved is not None
    way = "later" if one.moved_s > 0 else "earlier"
    return f"with its times {abs(one.moved_s):g} s {way} it fits by {one.own - one.moved:+.2f} nats: the times may be off"
