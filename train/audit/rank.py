"""Which rows are doubtful, and why: signs, as deviations from the middle of the dataset.

The rank is by the loss of the text with its own frames, and more so if it falls when the times are moved. With the texts of
a tenth of the micro-world's videos swapped and the times of another tenth shifted, that puts bad rows before good ones
with probability .975 (1,200 rows); the greatest of all four signs .958, the loss alone .975 with fewer bad ones at the very
top. The other signs say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.inference.worth import Worth

NORMAL = 1.4826
"""Median absolute deviation of a normal distribution → its standard deviation."""
LEAST_SPREAD = 1e-3
"""Of a sign, in nats: where all rows are alike, nothing is far from them."""


CLEAR = 2.0
"""Deviations of a sign that gives the reason."""


@dataclass(frozen=True)
class Doubt:
    """How doubtful a row is."""

    worth: Worth
    deviations: float
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
    why = np.stack([_deviations(np.asarray(sign)) for sign in signs])  # (3, R)
    why[2, [one.moved is None for one in worths]] = 0.0  # nothing to be moved
    far = _deviations(own) + np.maximum(why[2], 0.0)  # (R,)
    found = [Doubt(one, float(far[i]), _reason(why[:, i], one)) for i, one in enumerate(worths)]
    return sorted(found, key=lambda one: (-one.deviations, one.worth.id))


def _deviations(sign: np.ndarray) -> np.ndarray:
    middle = np.median(sign)
    spread = NORMAL * np.median(np.abs(sign - middle))
    return (sign - middle) / max(float(spread), LEAST_SPREAD)


def _reason(why: np.ndarray, one: Worth) -> str:
    sign = int(why.argmax())
    if why[sign] < CLEAR:
        return "of what these frames show, the model would say something else"
    if sign == 0:
        return f"its frames are worth {one.worth:+.2f} nats: the text may not be of this video"
    if sign == 1:
        return f"another video's frames fit it by {one.own - one.other:+.2f} nats: the text may be of another video"
    assert one.moved is not None
    way = "later" if one.moved_s > 0 else "earlier"
    return f"with its times {abs(one.moved_s):g} s {way} it fits by {one.own - one.moved:+.2f} nats: the times may be off"
