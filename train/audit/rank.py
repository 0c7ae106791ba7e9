"""Which rows are doubtful, and why: signs, as deviations from the middle of the dataset.

Four signs rank: the loss of the text with its own frames, that of its times alone, what it falls by when the times are
moved, and whether the times fit the changes of the pictures. The two losses are compared with those of rows whose text is
as long and which show as much of a video: of a long one, times are harder to tell. How far times fit counts by how many of
the dataset's do: where events are not what changes the picture, it says nothing. With the texts of a tenth of the
micro-world's videos swapped and the times of another tenth shifted, these put bad rows before good ones with probability
.979 (1,500 rows, mean of three models), the three signs of the model alone .947. The other signs say why.
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
ENOUGH = 30
"""Rows from which can be told what is usual for a length."""
USUAL = 0.9
"""Share of them that tell it: those with the lowest losses for their length."""
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
    gained = own - [one.own if one.moved is None else one.moved for one in worths]
    moved = np.where([one.moved is None for one in worths], 0.0, _deviations(gained))
    timed = np.array([one.times is not None for one in worths])
    times = np.zeros(len(worths))
    if timed.any():
        told = [one for one in worths if one.times is not None]
        times[timed] = _deviations(_beyond_usual(np.array([one.times for one in told]), told))
    unfit = _unfit(worths)
    whole = _deviations(_beyond_usual(own, worths))
    far = np.linalg.norm(np.maximum([whole, times, moved, unfit], 0.0), axis=0)  # (R,)
    why = np.stack(
        [
            _deviations(own - [one.blank for one in worths]),
            _deviations(own - [one.other for one in worths]),
            moved,
            times,
            unfit,
        ]
    )  # (5, R)
    found = [Doubt(one, float(far[i]), _reason(why[:, i], one)) for i, one in enumerate(worths)]
    return sorted(found, key=lambda one: (-one.deviations, one.worth.id))


def _beyond_usual(losses: np.ndarray, worths: Sequence[Worth]) -> np.ndarray:
    """(R,) what losses are above those that rows of their length usually have: least squares over the logarithms of
    tokens and seconds, without the rows that are farthest above it."""
    if len(losses) < ENOUGH:
        return losses
    logs = np.log([[max(1, one.tokens), max(1e-3, one.length_s)] for one in worths])
    lengths = np.column_stack([np.ones(len(worths)), logs])  # (R, 3)
    usual = np.ones(len(worths), bool)
    for _ in range(3):
        fit = np.linalg.lstsq(lengths[usual], losses[usual], rcond=None)[0]  # (3,)
        beyond = losses - lengths @ fit
        usual = beyond <= np.quantile(beyond, USUAL)
    return beyond


def _unfit(worths: Sequence[Worth]) -> np.ndarray:
    """(R,) deviations of how little times fit, by the share of rows in which they fit: 1 if all do, 0 if half of them
    do, as by chance."""
    found = np.zeros(len(worths))
    if share := share_that_fits(worths):
        known = np.array([one.fit is not None for one in worths])
        fits = np.array([one.fit for one in worths if one.fit is not None])
        found[known] = max(0.0, 2 * share - 1) * _deviations(-fits)
    return found


def share_that_fits(worths: Sequence[Worth]) -> float | None:
    """Of rows, those whose own times fit the changes of their pictures better than other times would. None: no row has
    times that can be compared."""
    fits = [one.fit > 0 for one in worths if one.fit is not None]
    return float(np.mean(fits)) if fits else None


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
    if sign == 2:
        assert one.moved is not None
        way = "later" if one.moved_s > 0 else "earlier"
        return f"with its times {abs(one.moved_s):g} s {way} it fits by {one.own - one.moved:+.2f} nats: the times may be off"
    if sign == 3:
        return f"the model expects other times ({one.times:.2f} nats a token of a time): they may be off"
    return "its pictures change elsewhere than its events begin and end: the times may be off, or the text of another video"
