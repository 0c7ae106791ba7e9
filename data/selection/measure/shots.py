"""Detects shot boundaries (cuts, dissolves, fades) from the signals of one decode pass.

Every rule asks the same question at a different time scale: do the pictures before and after differ much
more than the pictures within either side? For a cut, the two sides are adjacent. For a dissolve, the frames
between the sides must be mixtures of both ends. For a fade, the picture must vanish in between. A flash
returns to the picture before it, steady motion is the same on both sides, and the middle of a whip pan is no
mixture of its ends: none of these is a transition.

The pictures compared are the 9 × 16 ones of every frame (`Signals.small`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from data.selection.measure.flashes import flashes
from data.selection.measure.signals import SMALL, Signals

CUT_RATIO = 2.75  # a cut: difference across ÷ within; tuned on the synthetic videos' tuning half
CUT_OVER = 1.25  # a cut: least difference across ÷ largest step within the livelier side
CUT_FLOOR = 3.0  # least difference across a cut: grey levels, mean over luma and chroma
STILL = 0.2  # largest step, in grey levels, within a still side (slides)
STILL_FLOOR = 0.4  # `CUT_FLOOR` between two still sides
STILL_ROWS = 3  # of 9 picture rows that must change between still sides: more than a subtitle does
SIDE_S = 0.25  # length of a side; a flash up to this long is no cut
MOST_SIDE = 15  # frames of a side
SHORT_BY_S = 0.1  # tolerance: a shot's first to last frame is one frame less than its length
NOISE = 0.5  # grey levels by which two pictures of one still scene differ
STILL_NOISE = 0.12  # the same for pictures that are not filmed
GRADUAL_RATIO = 2.5  # a dissolve: difference across ÷ within
GRADUAL_FLOOR = 7.0  # least difference across a dissolve, in grey levels
HALF_LENGTHS_S = (0.12, 0.2, 0.32, 0.5, 0.7)  # half a dissolve of 5 to 35 frames at 25 fps
BLANK_CONTRAST = 12.0
REPEATED = 0.3  # change (grey levels, sum of three planes) of a frame that repeats the one before
FADE_S = 2.0  # longest fade on either side of the blank frames
FADE_RATIO = 20.0  # so that a fade wins over its two halves, which also look like dissolves
MIXTURE_ERROR = 0.35  # largest error of a mixture ÷ difference between the ends
UNEVEN = 0.11  # largest deviation of a dissolve's course from linear; camera motion is less even


@dataclass(frozen=True, slots=True)
class Transition:
    """The transition from one shot to the next."""

    start_s: float
    """Timestamp of the last frame that is entirely of the old shot."""
    end_s: float
    """Timestamp of the first frame that is entirely of the new shot."""
    hard: bool
    """Whether it is a cut: no frame lies between."""


@dataclass(frozen=True, slots=True)
class Change:
    """A shot change: `last` is the last frame entirely of the old shot, `first` the first one entirely of
    the new shot."""

    last: int
    first: int
    ratio: float
    """Difference across ÷ difference within: higher is more certain."""

    @property
    def hard(self) -> bool:
        """Whether it is a cut: no frame lies between."""
        return self.first == self.last + 1


def find_cuts(signals: Signals) -> list[Change]:
    """Jumps of the picture in time order, also unlikely cuts; `ratio` says how certain each is.

    The difference within is the geometric mean of both sides', so one calm side is enough. Flashes are left
    out of both sides.
    """
    pictures = _flat(signals)  # (N, 432)
    change, times_s = signals.change, signals.times_s
    if len(change) < 2:
        return []
    lit = flashes(signals)
    found = []
    for first in _peaks(change):
        # one frame more than the longest flash: the picture before it
        start = np.searchsorted(times_s, times_s[first] - SIDE_S - 1e-6) - 1
        start = max(0, first - MOST_SIDE, start)
        stop = min(first + MOST_SIDE, np.searchsorted(times_s, times_s[first] + SIDE_S + 1e-6) + 1)
        sides = slice(min(start, max(0, first - 2)), first), slice(first, max(stop, first + 2))
        before, after = (_without_flashes(pictures[side], lit[side]) for side in sides)
        across = np.abs(before[:, None] - after[None]).mean(axis=2).min()  # the closest two frames
        calm, lively = sorted((_largest_step(before), _largest_step(after)))
        if lively < STILL and not (lit[sides[0]].any() or lit[sides[1]].any()):
            rows = np.abs(before[-1] - after[0])[: SMALL[0] * SMALL[1]].reshape(SMALL).max(axis=1)
            if across < STILL_FLOOR or (rows > 2).sum() < STILL_ROWS:
                continue
        elif across < CUT_FLOOR or across < CUT_OVER * lively:
            continue
        noise = NOISE if across >= CUT_FLOOR else STILL_NOISE
        ratio = across / (np.sqrt(calm * lively) + noise)
        found.append(Change(int(first) - 1, int(first), float(ratio)))
    return found


def _peaks(change: np.ndarray) -> np.ndarray:
    """Frames whose change is a local maximum: above the floor of a cut, or a small one among still frames."""
    around = np.maximum.reduce([np.roll(change, 1), np.roll(change, -1)])
    near = cv2.dilate(change[None], np.ones((1, 13), np.uint8))[0]  # maximum over ± 6 frames
    alone = (change >= near) & (around < 3 * STILL) & (change > 3 * STILL_FLOOR)
    peaks = np.flatnonzero((change >= around) & ((change > 3 * CUT_FLOOR) | alone))
    return peaks[peaks > 0]


def _without_flashes(pictures: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """The pictures of one side without its flashes; all of them if all are flashes."""
    return (pictures if lit.all() else pictures[~lit]).astype(np.float32)


def _largest_step(pictures: np.ndarray) -> float:
    """Largest mean absolute difference between neighbouring pictures."""
    return float(np.abs(np.diff(pictures, axis=0)).mean(axis=1).max(initial=0.0))


def _flat(signals: Signals) -> np.ndarray:
    """(N, 432) the 9 × 16 pictures as vectors."""
    return signals.small.reshape(len(signals.small), -1)


def _differences(pictures: np.ndarray, lag: int) -> np.ndarray:
    """(N, D) uint8 → (N - lag,) mean absolute difference of frames `lag` apart."""
    if len(pictures) <= lag:
        return np.zeros(0, np.float32)
    result = np.empty(len(pictures) - lag, np.float32)
    for start in range(0, len(result), 4096):  # blocks bound the memory
        stop = min(start + 4096, len(result))
        difference = cv2.absdiff(pictures[start:stop], pictures[start + lag : stop + lag])
        result[start:stop] = difference.mean(axis=1, dtype=np.float32)
    return result


def find_gradual(signals: Signals, cuts: list[Change]) -> list[Change]:
    """Dissolves and fades, in time order; of overlapping ones, that of the highest ratio."""
    pictures = _flat(signals)
    count = len(pictures)
    if count < 12:
        return []
    step_s = float(np.median(np.diff(signals.times_s)))
    is_cut = np.zeros(count + 1, np.int32)
    is_cut[[c.first for c in cuts]] = 1
    cuts_before = np.cumsum(is_cut)
    found: list[tuple[float, Change]] = []
    for half in sorted({max(3, round(h / max(step_s, 1e-3))) for h in HALF_LENGTHS_S}):
        lag = 2 * half
        if count <= lag + 2:
            break
        across = _differences(pictures, lag)  # from t to t + lag
        within = _differences(pictures, half)
        starts = np.arange(len(across))
        left = within[np.maximum(0, starts - half)]
        right = within[np.minimum(len(within) - 1, starts + lag)]
        ratio = across / ((left + right) / 2 + 1.0)
        ratio[across < GRADUAL_FLOOR] = 0
        ratio[cuts_before[starts + lag] != cuts_before[starts]] = 0
        best = cv2.dilate(ratio[None], np.ones((1, 2 * half + 1), np.uint8))[0]
        for start in np.flatnonzero((ratio == best) & (ratio >= GRADUAL_RATIO)):
            change = _as_mixture(pictures, int(start), int(start) + lag, float(ratio[start]))
            if change is not None:
                found.append((float(ratio[start]), change))
    found += [(c.ratio, c) for c in _fades(signals, pictures)]
    chosen: list[Change] = []
    for _, change in sorted(found, key=lambda pair: -pair[0]):
        if all(change.last >= c.first or change.first <= c.last for c in chosen):
            chosen.append(change)
    return sorted(chosen, key=lambda c: c.last)


def _as_mixture(pictures: np.ndarray, start: int, stop: int, ratio: float) -> Change | None:
    """The dissolve inside `start..stop`; None if its pictures are not mixtures of the two ends."""
    span = pictures[start : stop + 1].astype(np.float32)  # (L, D)
    way = span[-1] - span[0]
    share = (span - span[0]) @ way / float(way @ way)  # (L,) 0 at the start, 1 at the end
    error = np.abs(span - span[0] - np.clip(share, 0, 1)[:, None] * way).mean(axis=1)
    if error.max() > MIXTURE_ERROR * np.abs(way).mean() or np.diff(share).max() > 0.5:
        return None
    inside = np.flatnonzero((share > 0.04) & (share < 0.96))
    if len(inside) < 3:
        return None
    course = share[inside[0] : inside[-1] + 1]
    if np.abs(course - np.linspace(course[0], course[-1], len(course))).max() > UNEVEN:
        return None
    return Change(start + int(inside[0]) - 1, start + int(inside[-1]) + 1, ratio)


def _fades(signals: Signals, pictures: np.ndarray) -> list[Change]:
    """Fades: the picture vanishes into black or white, and another picture appears."""
    contrast, luma, times_s = signals.contrast, signals.luma, signals.times_s
    blank = (contrast < BLANK_CONTRAST) & ((luma < 40) | (luma > 215))
    found = []
    for start, stop in runs(blank):
        last, first = int(start), int(stop) - 1
        least = max(0, np.searchsorted(times_s, times_s[start] - FADE_S))
        most = min(len(times_s) - 1, np.searchsorted(times_s, times_s[first] + FADE_S))
        rise = 0.05 + 0.02 * contrast[least : most + 1].max()  # per frame while it fades
        # 24 fps film at 30 fps repeats one frame in five: then compare with the frame after it
        again = signals.change < REPEATED
        while last > least and contrast[max(least, last - 1 - again[last])] > contrast[last] + rise:
            last -= 1
        while (
            first < most
            and contrast[min(most, first + 1 + again[first + 1])] > contrast[first] + rise
        ):
            first += 1
        steps = np.abs(np.diff(pictures[last : first + 1].astype(np.float32), axis=0)).mean(axis=1)
        across = float(np.abs(pictures[last].astype(np.float32) - pictures[first]).mean())
        deep = contrast[start:stop].min() < 0.25 * min(contrast[last], contrast[first])
        slow = steps.max(initial=0.0) < 0.35 * steps.sum()  # a flash comes in one step
        inside = start > 0 and stop < len(times_s)
        if inside and deep and slow and across >= CUT_FLOOR:
            found.append(Change(last, first, FADE_RATIO))
    return found


def find_changes(
    signals: Signals, min_shot_s: float = 0.0, jumps: Sequence[Change] | None = None
) -> list[Change]:
    """Cuts, dissolves and fades in time order; of two closer than `min_shot_s`, the one of the higher ratio.

    `jumps`: the result of `find_cuts`, if it is already computed. The result is empty if only key frames
    were decoded: they do not show what lies between them.
    """
    if signals.sparse:
        return []
    jumps = find_cuts(signals) if jumps is None else jumps
    cuts = [c for c in jumps if c.ratio >= CUT_RATIO]
    return kept_apart([*cuts, *find_gradual(signals, cuts)], signals.times_s, min_shot_s)


def runs(mask: np.ndarray) -> np.ndarray:
    """(N,) bool → (R, 2) half-open runs of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return edges.reshape(-1, 2)


def kept_apart(found: Sequence[Change], times_s: np.ndarray, min_shot_s: float) -> list[Change]:
    """In time order; of two closer than `min_shot_s`, the one of the higher ratio."""
    kept: list[Change] = []
    for change in sorted(found, key=lambda c: -c.ratio):
        length_s = [  # of the shot between the two
            times_s[c.last] - times_s[change.first]
            if c.last > change.last
            else times_s[change.last] - times_s[c.first]
            for c in kept
        ]
        if all(between >= min_shot_s - SHORT_BY_S for between in length_s):
            kept.append(change)
    return sorted(kept, key=lambda c: c.last)


def in_seconds(changes: Sequence[Change], times_s: np.ndarray) -> list[Transition]:
    """Changes between the frames at `times_s` (N,) as transitions."""
    return [Transition(float(times_s[c.last]), float(times_s[c.first]), c.hard) for c in changes]


def transitions(signals: Signals, min_shot_s: float = 0.0) -> list[Transition]:
    """`find_changes` in seconds."""
    return in_seconds(find_changes(signals, min_shot_s), signals.times_s)


def shots_from_cuts(times_s: np.ndarray, cuts_s: Sequence[float]) -> list[tuple[int, int]]:
    """Frame times (N,) and cut times → shots as half-open index ranges that tile 0..N."""
    firsts = {int(np.abs(times_s - cut).argmin()) for cut in cuts_s}
    edges = [0, *sorted(firsts - {0}), len(times_s)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
