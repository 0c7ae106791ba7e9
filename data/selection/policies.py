"""Which frames to keep: each policy is one function `(signals, keys) -> Selection`.

All take the same budget `keys.max`, all return true times in order with a reason per frame, and
rank their frames so that a prompt that must become shorter loses the least valuable first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from data.keys import FrameKeys
from data.sample import Selection
from data.selection.shots import shots_from_cuts
from data.selection.signals import Signals

POLICY_VERSION = 1
"""Raised when the same keys would choose other frames; stored with every prepared dataset."""

Policy = Callable[[Signals, FrameKeys], Selection]


def select(signals: Signals, keys: FrameKeys) -> Selection:
    """Apply the policy that `keys` names."""
    return POLICIES[keys.policy](signals, keys)


def uniform(signals: Signals, keys: FrameKeys) -> Selection:
    """The middles of `max` equal spans of time."""
    return _at_times(signals, _middles(signals.duration_s, keys.max), "evenly spaced")


def fps(signals: Signals, keys: FrameKeys) -> Selection:
    """A fixed rate; where that exceeds the budget, evenly spaced instead."""
    count = max(1, round(signals.duration_s * keys.fps))
    if count > keys.max:
        return _at_times(
            signals, _middles(signals.duration_s, keys.max), f"{keys.fps:g} fps, capped"
        )
    return _at_times(signals, (np.arange(count) + 0.5) / keys.fps, f"{keys.fps:g} fps")


def smolvlm(signals: Signals, keys: FrameKeys) -> Selection:
    """What transformers' `SmolVLMVideoProcessor.sample_frames` picks for these frame numbers.

    It counts in frames at the mean rate; at one frame a second up to the budget, first and last
    frame included, and one second left out at both ends where the budget is exceeded by two.
    """
    total = len(signals.times_s)
    mean_fps = total / signals.duration_s
    wanted = max(1, min(round(keys.fps * signals.duration_s), keys.max))
    start, end = 0, total - 1
    if signals.duration_s - 2 > keys.max * keys.fps:
        start, end = int(mean_fps), min(int(total - mean_fps), total - 1)
    if start >= end:
        start, end = 0, total - 1
    indices = np.unique(np.linspace(start, end, wanted, dtype=int))
    return _selection(signals, [(int(i), "transformers' sampling") for i in indices], spread=True)


def shots(signals: Signals, keys: FrameKeys) -> Selection:
    """One frame a shot, `pick=first` or `middle`; the longest shots where there are too many."""
    found = _longest(signals, shots_from_cuts(signals.times_s, signals.cuts_s), keys.max)
    chosen = [a if keys.pick == "first" else (a + b - 1) // 2 for a, b in found]
    return _selection(signals, [(i, f"{keys.pick} of a shot") for i in chosen])


def scene(signals: Signals, keys: FrameKeys) -> Selection:
    """One good frame per shot away from its edges, then the widest gaps are filled.

    Where shots outnumber the budget the longest are shown. No frame is added closer than
    `min_gap_s` to another, so a short or static clip does not fill the budget with copies.
    """
    found = shots_from_cuts(signals.times_s, signals.cuts_s)
    chosen = [(_clearest(signals, a, b), "shot") for a, b in _longest(signals, found, keys.max)]
    chosen += _fill_gaps(signals, [i for i, _ in chosen], keys)
    return _selection(signals, chosen)


POLICIES: dict[str, Policy] = {
    "scene": scene,
    "uniform": uniform,
    "fps": fps,
    "smolvlm": smolvlm,
    "shots": shots,
}


def _middles(duration_s: float, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * duration_s / count


def _at_times(signals: Signals, wanted_s: np.ndarray, reason: str) -> Selection:
    """The frames nearest to the wanted times, each once."""
    times_s = signals.times_s
    right = np.searchsorted(times_s, wanted_s).clip(1, max(1, len(times_s) - 1))
    left = right - 1
    right = np.minimum(right, len(times_s) - 1)
    nearer = np.where(wanted_s - times_s[left] <= times_s[right] - wanted_s, left, right)
    return _selection(signals, [(int(i), reason) for i in np.unique(nearer)], spread=True)


def _longest(
    signals: Signals, found: Sequence[tuple[int, int]], count: int
) -> list[tuple[int, int]]:
    """At most `count` shots, longest first (in time, not frames), earlier first among equals."""
    ends_s = np.append(signals.times_s[1:], signals.duration_s)
    length_s = [ends_s[b - 1] - signals.times_s[a] for a, b in found]
    order = np.argsort(-np.round(length_s, 6), kind="stable")
    return [found[i] for i in order[:count]]


def _clearest(signals: Signals, start: int, end: int) -> int:
    """The sharpest frame in the middle half of a shot that is neither black nor blank.

    Frames at the edges belong to fades and dissolves as often as to the shot.
    """
    margin = (end - start) // 4
    inner = np.arange(start + margin, max(start + margin + 1, end - margin))
    visible = inner[(signals.luma[inner] > 12) & (signals.contrast[inner] > 4)]
    pool = visible if len(visible) else inner
    middle = (start + end - 1) / 2
    best = signals.sharpness[pool].max(initial=0.0)
    good = pool[signals.sharpness[pool] >= 0.9 * best]  # about as sharp as the sharpest
    return int(good[np.abs(good - middle).argmin()])


def _fill_gaps(signals: Signals, chosen: Sequence[int], keys: FrameKeys) -> list[tuple[int, str]]:
    """Spend the rest of the budget where frames are furthest apart, evenly inside each gap.

    The next frame always goes to the gap with the widest spacing, until that is below twice
    `min_gap_s`. At an end of the video the last half spacing stays empty: the very first and last
    frames are often black.
    """
    times_s = signals.times_s
    marks = [float(times_s[i]) for i in sorted(chosen)]
    inner = list(pairwise(marks))
    # (from, towards, width in spacings before any frame is added): ends run away from their mark
    gaps = [
        (marks[0], 0.0, 0.5),
        (marks[-1], signals.duration_s, 0.5),
        *((a, b, 1.0) for a, b in inner),
    ]
    added = [0] * len(gaps)
    heap = [(-abs(b - a) / spacings, k) for k, (a, b, spacings) in enumerate(gaps)]
    heapq.heapify(heap)
    for _ in range(keys.max - len(chosen)):
        spacing_s, k = -heap[0][0], heap[0][1]
        if spacing_s < 2 * keys.min_gap_s:
            break
        added[k] += 1
        start, stop, spacings = gaps[k]
        heapq.heapreplace(heap, (-abs(stop - start) / (spacings + added[k]), k))
    wanted_s = [
        start + (stop - start) * (j + 1) / (spacings + count)
        for (start, stop, spacings), count in zip(gaps, added, strict=True)
        for j in range(count)
    ]
    nearest = {int(np.abs(times_s - time_s).argmin()) for time_s in wanted_s} - set(chosen)
    in_order = sorted(nearest)
    ranks = _spread_ranks(len(in_order))
    return [(i, "gap") for _, i in sorted(zip(ranks, in_order, strict=True))]


def _selection(
    signals: Signals, chosen: Sequence[tuple[int, str]], *, spread: bool = False
) -> Selection:
    """Chosen frames, best first, → a Selection in time order.

    `spread=True`: the frames are equals; they go in an order that keeps the rest well spread.
    """
    ranks = _spread_ranks(len(chosen)) if spread else list(range(len(chosen)))
    rows = sorted((i, reason, rank) for (i, reason), rank in zip(chosen, ranks, strict=True))
    return Selection(
        times_s=tuple(float(signals.times_s[i]) for i, _, _ in rows),
        reasons=tuple(reason for _, reason, _ in rows),
        ranks=tuple(rank for _, _, rank in rows),
        duration_s=signals.duration_s,
    )


def _spread_ranks(count: int) -> list[int]:
    """Ranks by van der Corput's sequence: any prefix covers the whole span about evenly."""
    bits = max(1, (count - 1).bit_length())
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits)]
    ranks = [0] * count
    for rank, i in enumerate(i for i in order if i < count):
        ranks[i] = rank
    return ranks
