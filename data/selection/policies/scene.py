"""The default policy: as many different shots as the budget allows, each shown by a clear frame.

Candidates are the clearest frames of short windows. Shot boundaries come with a probability, and `allocate`
chooses by expected coverage: if there are more shots than the budget, it decides which are worth most. If
there are fewer, the remaining frames go to the shots with most time and motion.

Tried and rejected, by event recall at 16 frames on the tuning half of the synthetic videos (.851): splitting
long shots by kernel temporal segmentation (.840: equal parts of the moving time do better), and placing the
remaining frames by expected coverage too (.845: it prefers a second frame in every short shot to a third in
a long one).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.flashes import flashes
from data.selection.measure.played import played_s
from data.selection.measure.shots import CUT_RATIO, Change, find_cuts
from data.selection.measure.signals import Signals, copies
from data.selection.policies.allocate import allocate
from data.selection.policies.boundaries import cut_probability, find_boundaries
from data.selection.policies.ranking import selection, spread_ranks

RATE = 0.05  # hazard of undetected changes per second of full motion
STILL = 0.1  # share of `RATE` for a second in which nothing moves
MOVED = 3.0  # grey levels by which the most changed cell must change in a second for full motion
UNLIKE = 10.0  # mean difference of two key frames (grey levels) with a hazard of 1: a likely cut
CLEAR = 0.8  # clearness, relative to the clearest candidate nearby, that is good enough
BLANK, DARK = 4.0, 24.0  # contrast and distance from black or white below which nothing is seen
MOST_CANDIDATES = 1024  # allocation is quadratic in them


def scene(signals: Signals, keys: FrameKeys) -> Selection:
    """See the module's docstring."""
    jumps = [] if signals.sparse else find_cuts(signals)
    changes = find_boundaries(signals, keys, jumps)
    frames = _candidates(signals, changes)
    hazard, steps = _background(signals, changes, jumps)
    probability = cut_probability(changes, len(signals.times_s))
    chosen, ranks = allocate(
        probability,
        played_s(signals.times_s),
        frames,
        keys.max,
        background=_add_steps(hazard, steps),
    )
    order = chosen[np.argsort(ranks)]  # best first
    _, firsts = np.unique(_shot_of(order, changes), return_index=True)
    shown = _shot_of(order[np.sort(firsts)], changes)  # shot numbers, most valuable first
    spans = _share_budget(shown, keys.max, frames, hazard, steps, changes)
    placed = [_placed(signals, hazard, span) for span in spans]
    # the first frame of every shot before the second of any: by depth, then by the shot's value
    ranked = [
        (depth, worth, frame)
        for worth, inside in enumerate(placed)
        for depth, frame in zip(spread_ranks(len(inside)), inside, strict=True)
    ]
    best_first = [(frame, "within shot" if depth else "shot") for depth, _, frame in sorted(ranked)]
    return selection(signals, _without_copies(signals, best_first, changes, keys.max_gap_s))


@dataclass(frozen=True)
class Stretch:
    """A chosen shot, and how many frames it gets."""

    pool: np.ndarray
    """(P,) frame indices of its candidates."""
    start: int
    stop: int
    """Its first and its last frame."""
    count: int
    """Number of frames that it gets."""
    steps: tuple[Step, ...]
    """The near-cuts inside it."""


@dataclass(frozen=True)
class Step:
    """A near-cut: a jump just below the threshold of a cut. It is one event, however large its hazard."""

    first: int
    """The first frame after it."""
    size: float
    """Its hazard."""


def _add_steps(hazard: np.ndarray, steps: Sequence[Step], most: float = np.inf) -> np.ndarray:
    """(N,) cumulative hazard with the steps added, each limited to `most`."""
    total = hazard.copy()
    for step in steps:
        total[step.first :] += min(step.size, most)
    return total


def _part(length: float, steps: Sequence[Step], count: int) -> float:
    """Hazard per part if a shot's hazard (`length` and `steps`) is divided into `count` equal parts, where
    one step fills at most one part."""
    left = length + sum(step.size for step in steps)
    for size in sorted((step.size for step in steps), reverse=True):
        if count == 1 or size <= left / count:  # one part holds all, whatever rounding says
            break
        left, count = left - size, count - 1  # this step fills a part alone
    return left / count


def _share_budget(
    shown: np.ndarray,
    budget: int,
    frames: np.ndarray,
    hazard: np.ndarray,
    steps: Sequence[Step],
    changes: list[Change],
) -> list[Stretch]:
    """Share the budget among the shots `shown`: one frame each, then one at a time to the shot whose frames
    lie farthest apart by hazard. That makes the widest gap as small as possible."""
    starts = [0, *(c.first for c in changes)]
    stops = [*(c.last for c in changes), len(hazard) - 1]
    own = _shot_of(frames, changes)
    pools = [frames[own == number] for number in shown]
    length = [float(hazard[stops[n]] - hazard[starts[n]]) for n in shown]
    inside = [tuple(s for s in steps if starts[n] < s.first <= stops[n]) for n in shown]
    counts = [1] * len(shown)
    many = [k for k in range(len(shown)) if len(pools[k]) > 1]
    heap = [(-_part(length[k], inside[k], 1), k) for k in many]
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
    """The frames of a shot: near the middle of each of `count` parts of equal hazard, a clear candidate.
    `allocate` would push the outer frames to the ends of the shot."""
    part = _part(float(hazard[span.stop] - hazard[span.start]), span.steps, span.count)
    hazard = _add_steps(hazard, span.steps, part)
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
    """(N,) cumulative hazard of undetected changes, which grows by `RATE` per second of motion and less where
    nothing moves; and the near-cuts among `jumps`."""
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
    if signals.sparse:  # the more two neighbouring key frames differ, the likelier a cut between
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
    """The measured candidates without those that are blank or inside transitions, plus one for each shot
    that is left without a candidate."""
    inside = np.zeros(len(signals.times_s), bool)
    for change in changes:
        inside[change.last + 1 : change.first] = True
    seen = (signals.contrast > BLANK) | ((signals.luma > DARK) & (signals.luma < 255 - DARK))
    frames = _without_flashes(signals, inside)
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
    if len(frames) > MOST_CANDIDATES:  # the clearest of each of `MOST_CANDIDATES` equal spans
        played = played_s(signals.times_s)
        span = (played[frames] / (played[-1] + 1e-3) * MOST_CANDIDATES).astype(np.int64)
        order = np.lexsort((-signals.clearness[frames], span))
        _, first = np.unique(span[order], return_index=True)
        frames = np.sort(frames[order[first]])
    return frames


def _without_flashes(signals: Signals, inside: np.ndarray) -> np.ndarray:
    """The candidates outside transitions; a flash is replaced by the clearest neighbour that is no flash.
    `inside` (N,): whether a frame is inside a transition."""
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
    """The number of the shot that each frame belongs to."""
    return np.searchsorted([c.first for c in changes], frames, side="right")


def _without_copies(
    signals: Signals,
    best_first: list[tuple[int, str]],
    changes: list[Change],
    max_gap_s: float,
) -> list[tuple[int, str]]:
    """Remove each frame that looks like a better one of the same shot within `max_gap_s`."""
    shot = _shot_of(np.array([i for i, _ in best_first]), changes)
    kept: list[int] = []
    for k, (i, _) in enumerate(best_first):
        for j in kept:
            other = best_first[j][0]
            near = abs(signals.times_s[i] - signals.times_s[other]) <= max_gap_s
            if near and shot[j] == shot[k] and copies(signals.small[i], signals.small[other]):
                break
        else:
            kept.append(k)
    return [best_first[k] for k in kept]
