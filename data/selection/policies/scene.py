"""The default policy: as many different shots as the budget can show, each by a clear frame.

Boundaries come with a probability, and the budget is spread by expected coverage (`allocate`):
where shots outnumber it, it is known which are worth most; where they do not, the rest goes where
time passes and pictures move. Candidates are the clearest frames of short windows.

Tried and left out, by event recall on the tuning half of the built videos: splitting long shots by
kernel temporal segmentation (.851 → .840 at 16 frames: equal parts of the moving time do better), and
leaving the last frames to the expected coverage alone (it prefers a second frame in every short
shot to a third in a long one, .845).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.flashes import flashes
from data.selection.measure.shots import CUT_RATIO, Change, find_changes, find_cuts
from data.selection.measure.signals import Signals
from data.selection.policies.allocate import allocate
from data.selection.policies.clock import played_s
from data.selection.policies.ranking import selection, spread_ranks

CERTAIN = 0.99
RATE = 0.05  # unnoticed changes a second
STILL = 0.1  # share of the hazard of a second in which nothing moves
MOVED = 3.0  # grey levels of the most changed cell in a second that counts as movement
UNLIKE = 10.0  # grey levels between key frames that add as much hazard as a likely cut
CLEAR = 0.8  # of the sharpest nearby
SAME_CELL, SAME_MEAN = 6.0, 1.0  # two pictures that differ by less show the same
BLANK, DARK = 4.0, 24.0  # contrast and brightness below which nothing is seen
MOST_CANDIDATES = 1024  # allocation is quadratic in them


def scene(signals: Signals, keys: FrameKeys) -> Selection:
    """See the module."""
    jumps = [] if signals.sparse else find_cuts(signals)
    changes = find_changes(signals, keys.min_shot_s, jumps)
    frames = _candidates(signals, changes)
    hazard, steps = _background(signals, changes, jumps)
    probability = np.zeros(len(signals.times_s))
    probability[[(c.last + c.first - 1) // 2 for c in changes]] = CERTAIN
    chosen, ranks = allocate(
        probability, played_s(signals.times_s), frames, keys.max, background=_with(hazard, steps)
    )
    order = chosen[np.argsort(ranks)]  # best first
    _, firsts = np.unique(_shot_of(order, changes), return_index=True)
    shown = _shot_of(order[np.sort(firsts)], changes)  # shots, the one worth most first
    spans = _spread(shown, keys.max, frames, hazard, steps, changes)
    placed = [_placed(signals, hazard, span) for span in spans]
    # the first frame of every shot before the second of any: by depth, then by the shot's worth
    ranked = [
        (depth, worth, frame)
        for worth, inside in enumerate(placed)
        for depth, frame in zip(spread_ranks(len(inside)), inside, strict=True)
    ]
    best_first = [(frame, "within shot" if depth else "shot") for depth, _, frame in sorted(ranked)]
    return selection(signals, _without_copies(signals, best_first, changes, keys.max_gap_s))


@dataclass(frozen=True)
class Stretch:
    """A shot that is shown, and by how many frames."""

    pool: np.ndarray
    """(P,) its candidates."""
    start: int
    stop: int
    """Its first and last frame."""
    count: int
    steps: tuple[Step, ...]
    """Inside it."""


@dataclass(frozen=True)
class Step:
    """A cut that is none by a little: one event, however much hazard it carries."""

    first: int
    """The frame behind it."""
    size: float


def _with(hazard: np.ndarray, steps: Sequence[Step], most: float = np.inf) -> np.ndarray:
    """(N,) hazard and its steps, each of at most so much."""
    total = hazard.copy()
    for step in steps:
        total[step.first :] += min(step.size, most)
    return total


def _part(length: float, steps: Sequence[Step], count: int) -> float:
    """Length and steps in so many equal parts, where a step fills one part at most."""
    left = length + sum(step.size for step in steps)
    for size in sorted((step.size for step in steps), reverse=True):
        if count == 1 or size <= left / count:  # one part holds all, whatever rounding says
            break
        left, count = left - size, count - 1  # it has a part for itself
    return left / count


def _spread(
    shown: np.ndarray,
    budget: int,
    frames: np.ndarray,
    hazard: np.ndarray,
    steps: Sequence[Step],
    changes: list[Change],
) -> list[Stretch]:
    """One frame for each shot that is shown; the rest one by one to the shot whose frames lie
    farthest apart, so that the widest gap is as small as can be."""
    starts = [0, *(c.first for c in changes)]
    stops = [*(c.last for c in changes), len(hazard) - 1]
    own = _shot_of(frames, changes)
    pools = [frames[own == number] for number in shown]
    length = [float(hazard[stops[n]] - hazard[starts[n]]) for n in shown]
    inside = [tuple(s for s in steps if starts[n] < s.first <= stops[n]) for n in shown]
    counts = [1] * len(shown)
    heap = [(-_part(length[k], inside[k], 1), k) for k in range(len(shown)) if len(pools[k]) > 1]
    heapq.heapify(heap)
    for _ in range(budget - len(shown)):
        if not heap:
            break
        _, k = heap[0]
        counts[k] += 1
        if counts[k] < len(pools[k]):
            heapq.heapreplace(heap, (-_part(length[k], inside[k], counts[k]), k))
        else:
            heapq.heappop(heap)
    return [
        Stretch(pool, starts[n], stops[n], count, within)
        for pool, n, count, within in zip(pools, shown, counts, inside, strict=True)
    ]


def _placed(signals: Signals, hazard: np.ndarray, span: Stretch) -> list[int]:
    """The shot's frames: at the middles of equal parts of it, there the nearest clear candidate.
    Allocation alone would push the outer ones to the ends."""
    part = _part(float(hazard[span.stop] - hazard[span.start]), span.steps, span.count)
    hazard = _with(hazard, span.steps, part)
    low = hazard[span.start]
    result: list[int] = []
    for k in range(span.count):
        room = span.pool[span.pool > (result[-1] if result else -1)]
        room = room[: len(room) - (span.count - k - 1)]  # leave one for each that follows
        off = np.abs(hazard[room] - low - (k + 0.5) * part)
        near = np.flatnonzero(off <= max(off.min(), part / 4))
        clearness = signals.clearness[room[near]]
        clear = near[clearness >= CLEAR * clearness.max()]
        result.append(int(room[clear[off[clear].argmin()]]))
    return result


def _background(
    signals: Signals, changes: list[Change], jumps: list[Change]
) -> tuple[np.ndarray, list[Step]]:
    """(N,) cumulative expected number of undetected changes: moving time, `RATE` a second
    (less where they do not); and cuts that are none by a little."""
    times_s = signals.times_s
    marks = np.unique(np.searchsorted(times_s, np.arange(0.0, times_s[-1] + 1.0, 1.0)))
    marks = np.unique(marks.clip(0, len(times_s) - 1))
    pictures = signals.small[marks].astype(np.int16).reshape(len(marks), -1)
    moved = np.abs(np.diff(pictures, axis=0)).max(axis=1, initial=0)  # (M - 1,)
    rate = STILL + (1 - STILL) * np.minimum(1.0, moved / MOVED)
    growth = np.r_[0.0, np.cumsum(rate * np.diff(played_s(times_s)[marks]))]
    hazard = RATE * np.interp(times_s, times_s[marks], growth)
    certain = np.zeros(len(times_s), bool)
    for change in changes:
        certain[change.last : change.first] = True
    if signals.sparse:  # from key frame to key frame: the more it differs, the likelier a cut
        flat = signals.small.reshape(len(times_s), -1).astype(np.int16)
        apart = np.abs(np.diff(flat, axis=0)).mean(axis=1)
        return np.asarray(hazard + np.r_[0.0, np.cumsum((apart / UNLIKE) ** 2)]), []
    steps = [
        Step(cut.first, float(np.log1p(min(cut.ratio / CUT_RATIO, 1.0) ** 6)))
        for cut in jumps
        if not certain[cut.last]
    ]
    return np.asarray(hazard), steps


def _candidates(signals: Signals, changes: list[Change]) -> np.ndarray:
    """The measured candidates without those inside transitions or of blank pictures, and one for
    each shot that has none left."""
    inside = np.zeros(len(signals.times_s), bool)
    for change in changes:
        inside[change.last + 1 : change.first] = True
    seen = (signals.contrast > BLANK) | ((signals.luma > DARK) & (signals.luma < 255 - DARK))
    frames = _unlit(signals, inside)
    if seen[frames].any():
        frames = frames[seen[frames]]
    starts = [0, *(c.first for c in changes)]
    stops = [*(c.last + 1 for c in changes), len(signals.times_s)]
    extra = []
    for start, stop in zip(starts, stops, strict=True):
        if stop > start and not ((frames >= start) & (frames < stop)).any():
            margin = (stop - start) // 4
            span = np.arange(start + margin, max(start + margin + 1, stop - margin))
            if seen[span].any():
                extra.append(int(span[signals.clearness[span].argmax()]))
    frames = np.union1d(frames, extra).astype(np.int64)
    if len(frames) == 0:
        frames = np.array([len(signals.times_s) // 2])
    if len(frames) > MOST_CANDIDATES:  # the clearest of each of so many spans
        played = played_s(signals.times_s)
        span = (played[frames] / (played[-1] + 1e-3) * MOST_CANDIDATES).astype(np.int64)
        order = np.lexsort((-signals.clearness[frames], span))
        _, first = np.unique(span[order], return_index=True)
        frames = np.sort(frames[order[first]])
    return frames


def _unlit(signals: Signals, inside: np.ndarray) -> np.ndarray:
    """The candidates outside transitions; a flash gives way to the clearest neighbour that is none."""
    lit = flashes(signals)
    count = len(lit)
    frames = signals.candidates[~inside[signals.candidates]]
    kept = [frames[~lit[frames]]]
    for frame in frames[lit[frames]]:
        near = np.arange(max(0, frame - 3), min(count, frame + 4))
        near = near[~lit[near] & ~inside[near]]
        kept.append(near[signals.clearness[near].argsort()[-1:]])
    found = np.unique(np.concatenate(kept)).astype(np.int64)
    return found if len(found) else frames


def _shot_of(frames: np.ndarray, changes: list[Change]) -> np.ndarray:
    """The number of the shot that each frame lies in."""
    return np.searchsorted([c.first for c in changes], frames, side="right")


def _without_copies(
    signals: Signals,
    best_first: list[tuple[int, str]],
    changes: list[Change],
    max_gap_s: float,
) -> list[tuple[int, str]]:
    """Leave out a frame that looks like a better one nearby in the same shot."""
    shot = _shot_of(np.array([i for i, _ in best_first]), changes)
    kept: list[int] = []
    for k, (i, _) in enumerate(best_first):
        picture = signals.small[i].astype(np.int16)
        for j in kept:
            other = best_first[j][0]
            near = abs(signals.times_s[i] - signals.times_s[other]) <= max_gap_s
            if near and shot[j] == shot[k]:
                apart = np.abs(picture - signals.small[other])
                if apart.max() < SAME_CELL and apart.mean() < SAME_MEAN:
                    break
        else:
            kept.append(k)
    return [best_first[k] for k in kept]
