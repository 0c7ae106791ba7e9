"""One subject of a video, by the boxes it is in: where it is at a time, and when it is not seen.

Boxes are fractions of the picture as people see it (upright, with square pixels): left, top, right, bottom. The subject is
outlined on frames, as PLM does for its region captions (Cho et al. 2025), and the answer is about it alone: its events, and
the stretches without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from data.sample import Event

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture."""
HOLD_S = 0.5
"""So long before its first box, after its last, and beside one that says it is gone, the subject is still where it was."""
LEAST = 1e-4
"""Shares of the picture's width and height that a box has at least."""
ABSENT_S = 1.0
"""A stretch without the subject that is told lasts at least so long."""
ABSENT = "the marked subject is not in view."
PROMPT = (
    "One subject is marked by a box. Describe everything that it does, in order, with times, and say when it is not in "
    "view."
)
"""The instruction of a row with boxes that has none of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the subject is from a time on; None: it is not in view."""

    time_s: float
    box: Box | None


Track = tuple[Seen, ...]
"""By time."""


def parse_boxes(value: Any) -> Track:
    """`[[time_s, x1, y1, x2, y2], …]`, or `[time_s]` where the subject is gone; what lies outside of the picture is cut off.

    Raises:
        ValueError: an entry is no such list, its box has no area inside the picture, or times do not increase.
    """
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"boxes must be a list of [time_s, x1, y1, x2, y2], got {value!r:.80}")
    track = tuple(_seen(i, entry) for i, entry in enumerate(value))
    for i, (one, after) in enumerate(pairwise(track)):
        if after.time_s <= one.time_s:
            raise ValueError(
                f"boxes[{i + 1}]: its time, {after.time_s:g} s, is not after {one.time_s:g} s"
            )
    if not any(one.box for one in track):
        raise ValueError("boxes: the subject is nowhere in view")
    return track


def _seen(number: int, entry: Any) -> Seen:
    numbers = isinstance(entry, list | tuple) and len(entry) in (1, 5)
    if not numbers or any(isinstance(n, bool) or not isinstance(n, int | float) for n in entry):
        raise ValueError(
            f"boxes[{number}] must be [time_s, x1, y1, x2, y2], or [time_s] where it is gone, got {entry!r:.80}"
        )
    if not all(map(math.isfinite, entry)) or entry[0] < 0:
        raise ValueError(f"boxes[{number}]: times and edges must be finite, got {entry!r:.80}")
    if len(entry) == 1:
        return Seen(float(entry[0]), None)
    if max(map(abs, entry[1:])) > 2:
        raise ValueError(
            f"boxes[{number}]: edges are fractions of the picture, 0 to 1, got {list(entry[1:])}; divide pixels by its "
            "width and height"
        )
    x1, y1, x2, y2 = (min(max(float(edge), 0.0), 1.0) for edge in entry[1:])
    if x2 - x1 < LEAST or y2 - y1 < LEAST:
        raise ValueError(f"boxes[{number}]: has no area inside the picture, got {list(entry[1:])}")
    return Seen(float(entry[0]), (x1, y1, x2, y2))


def box_at(track: Sequence[Seen], time_s: float) -> Box | None:
    """Where the subject is, between two boxes on the line from one to the other; None: it is not in view."""
    before = [one for one in track if one.time_s <= time_s]
    after = track[len(before) :]
    left = before[-1] if before else None
    right = after[0] if after else None
    if left is not None and left.box is not None:
        if right is not None and right.box is not None:
            share = (time_s - left.time_s) / (right.time_s - left.time_s)
            x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(left.box, right.box, strict=True))
            return x1, y1, x2, y2
        if right is not None or time_s - left.time_s <= HOLD_S:  # gone from `right` on
            return left.box
        return None
    if right is not None and right.box is not None and right.time_s - time_s <= HOLD_S and not left:
        return right.box
    return None


def marks_of(track: Track, times_s: Sequence[float], *, first_only: bool) -> list[Box | None]:
    """The box to draw on each frame. If none of them shows the subject, the frame nearest to one of its boxes does.

    Args:
        times_s: of the frames.
        first_only: on the first frame that shows it alone.
    """
    found = [box_at(track, time_s) for time_s in times_s]
    if not any(found) and times_s:
        known = [one for one in track if one.box is not None]
        away = [(abs(t - one.time_s), i, one.box) for one in known for i, t in enumerate(times_s)]
        _, nearest, box = min(away, key=lambda one: one[:2])
        found[nearest] = box
    if first_only:
        first = next((i for i, box in enumerate(found) if box is not None), None)
        found = [box if i == first else None for i, box in enumerate(found)]
    return found


def absences(track: Track, events: Sequence[Event], end_s: float) -> list[Event]:
    """An event for each stretch in which the subject is not in view, and nothing is told of it. One box alone says where
    it is, not when it is gone."""
    if len(track) < 2:
        return []
    told: list[Event] = []
    for start_s, stop_s in _gone(track, end_s):
        left = [(start_s, min(stop_s, end_s))]
        for event in events:
            left = [
                (a, b)
                for low, high in left
                for a, b in ((low, min(high, event.start_s)), (max(low, event.end_s), high))
                if b > a
            ]
        told += [Event(a, b, ABSENT) for a, b in left if b - a >= ABSENT_S]
    return told


def _gone(track: Track, end_s: float) -> list[tuple[float, float]]:
    """The stretches in which the subject is not in view, each as long as it can be."""
    gone: list[tuple[float, float]] = []
    # the first box says nothing of what was before it by more than HOLD_S, nor the last one of what is after it
    if track[0].time_s > HOLD_S or track[0].box is None:
        gone.append((0.0, track[0].time_s))
    for one, after_s in zip(track, [*(other.time_s for other in track[1:]), end_s], strict=True):
        last = one is track[-1] and end_s - one.time_s > HOLD_S
        if one.box is None or last:
            goes_on = one.box is None and bool(gone) and gone[-1][1] == one.time_s
            begin_s = gone.pop()[0] if goes_on else one.time_s
            gone.append((begin_s, after_s))
    return gone
