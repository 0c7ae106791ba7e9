"""Small frames between the chosen ones, several side by side in one picture: what moves, for the tokens of few frames.

A grid of n × n small frames takes the tokens of one frame, and one look of the vision tower. It is a frame like any
other, with the time of its first small one. So storing, training, describing and other programs need nothing new.
SlowFast-LLaVA (arXiv 2407.15841) pools the tokens of many whole pictures instead; train/README.md compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals, copies
from data.selection.policies.boundaries import find_boundaries
from data.selection.tiles import QUARTERS
from data.target import clock

WORDS = "small frames"


@dataclass(frozen=True)
class Grid:
    """The small frames of one picture."""

    times_s: tuple[float, ...]
    rank: int
    """0: where most happens."""

    @property
    def reason(self) -> str:
        return f"{len(self.times_s)} {WORDS} until {clock(self.times_s[-1])}"


@dataclass(frozen=True)
class Stretch:
    """Frames of one shot, `start` to before `stop`, between two chosen ones; or a whole shot that no frame shows."""

    start: int
    stop: int
    unseen: bool
    """No chosen frame is in its shot."""
    change: float
    """How much happens in it, in grey levels; 0 if it stands still."""


def is_whole(reason: str) -> bool:
    """Whether a stored picture is one frame: no quarter of one, and no grid of small ones."""
    return reason not in QUARTERS and WORDS not in reason


def grids_between(signals: Signals, chosen: Selection, keys: FrameKeys) -> tuple[Grid, ...]:
    """At most `keys.grids` grids, in time order, their frames evenly spaced in a stretch. Each stretch beside a chosen
    frame gets one, the one where most changes first, then each shot that no frame shows, then each a second one: a model
    tells what moves of what it also sees whole. Where nothing moves there are none."""
    if not keys.grids:
        return ()
    each = keys.fast_grid**2
    stretches = [s for s in _stretches(signals, chosen, keys) if s.change > 0]
    counts = [0] * len(stretches)
    order: list[int] = []
    for _ in range(keys.grids):
        room = [n for n, s in enumerate(stretches) if s.stop - s.start > counts[n] * each]
        if not room:
            break
        order.append(
            min(room, key=lambda n: (counts[n], stretches[n].unseen, -stretches[n].change))
        )
        counts[order[-1]] += 1
    found = []
    for n in sorted(set(order)):
        frames = _spread(signals, stretches[n], counts[n] * each)
        places = [place for place, one in enumerate(order) if one == n]
        parts = [frames[i : i + each] for i in range(0, len(frames), each)]
        for place, part in zip(places, parts, strict=False):  # some frames may fill fewer
            found.append((place, tuple(float(signals.times_s[i]) for i in part)))
    ranks = {place: rank for rank, place in enumerate(sorted(place for place, _ in found))}
    return tuple(Grid(times_s, ranks[place]) for place, times_s in found)


def _stretches(signals: Signals, chosen: Selection, keys: FrameKeys) -> list[Stretch]:
    """What lies between the chosen frames, shot by shot. The first frame of a shot does not divide it."""
    changes = find_boundaries(signals, keys)
    count = len(signals.times_s)
    starts, stops = [0, *(c.first for c in changes)], [*(c.last + 1 for c in changes), count]
    at = np.searchsorted(signals.times_s, chosen.times_s)  # (K,)
    found = []
    for start, stop in zip(starts, stops, strict=True):
        inside = [int(i) for i in at if start <= i < stop]
        edges = [start, *inside[1:], stop]
        for a, b in pairwise(edges):
            if b - a < 2:
                continue
            still = inside and copies(signals.small[a + 1 : b], signals.small[a]).all()
            change = 0.0 if still else float(signals.change[a + bool(inside) : b].sum())
            found.append(Stretch(a, b, not inside, change))
    return found


def _spread(signals: Signals, stretch: Stretch, count: int) -> np.ndarray:
    """At most `count` frames of the stretch, evenly spaced; a candidate where one is near, for it is clear, and its
    picture is at hand."""
    times_s = signals.times_s
    last = stretch.stop < len(times_s)
    start_s, end_s = times_s[stretch.start], times_s[stretch.stop] if last else signals.shown_s
    step_s = (end_s - start_s) / count
    wanted_s = start_s + step_s * (np.arange(count) + 0.5)
    frames = _nearest(np.arange(stretch.start, stretch.stop), times_s, wanted_s)
    first, stop = np.searchsorted(signals.candidates, (stretch.start, stretch.stop))
    candidates = signals.candidates[first:stop]
    if len(candidates):
        near = _nearest(candidates, times_s, wanted_s)
        frames = np.where(np.abs(times_s[near] - wanted_s) <= step_s / 2, near, frames)
    return np.unique(frames)


def _nearest(frames: np.ndarray, times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """(W,) of `frames`, the one nearest to each wanted time."""
    at_s = times_s[frames]
    after = np.searchsorted(at_s, wanted_s).clip(max=len(frames) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(at_s[before] - wanted_s) <= np.abs(at_s[after] - wanted_s)
    return np.asarray(frames[np.where(nearer, before, after)])


def side_by_side(pictures: Iterable[np.ndarray], side: int, size: tuple[int, int]) -> np.ndarray:
    """Up to side² pictures, (H, W, 3) uint8 each, row by row in one of `size` (height, width); what is left of it is
    black."""
    height, width = (max(side, edge) for edge in size)
    rows, columns = (np.linspace(0, edge, side + 1).round().astype(int) for edge in (height, width))
    whole = np.zeros((height, width, 3), np.uint8)
    for n, picture in enumerate(pictures):
        row, column = divmod(n, side)
        top, bottom, left, right = rows[row], rows[row + 1], columns[column], columns[column + 1]
        cell = (int(right - left), int(bottom - top))
        whole[top:bottom, left:right] = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
    return whole
