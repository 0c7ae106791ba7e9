"""Timelines made worse on purpose: the rejected answer of a pair needs no model.

Each is a right timeline with one fault of the kind that describers make: scenes left out, told in the wrong order,
at the wrong time, or again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np

from data.sample import Event
from data.target import span
from data.window import Window
from train.preference.config import Maker

DROPPED = 1 / 3
"""Share of the scenes that are left out, one at least."""
SHIFT = (0.1, 0.3)
"""The times move by so much of the length: at least, at most."""
TIMES_REPEATED = (3, 6)
"""So often the scene that is repeated is told in all: at least, at most."""
Worsen = Callable[[Sequence[Event], Window, np.random.Generator], list[Event] | None]
"""(events by start, what is shown of the video, generator) → events; None: these cannot be made worse so."""


def dropped(events: Sequence[Event], shown: Window, rng: np.random.Generator) -> list[Event] | None:
    """A third of the scenes are left out."""
    if len(events) < 2:
        return None
    count = max(1, round(DROPPED * len(events)))
    gone = set(rng.choice(len(events), count, replace=False).tolist())
    return [e for i, e in enumerate(events) if i not in gone]


def swapped(events: Sequence[Event], shown: Window, rng: np.random.Generator) -> list[Event] | None:
    """The texts of two scenes are exchanged; the times stay."""
    told, exchanged = _told(events), []
    for i, k in combinations(range(len(events)), 2):
        changed = list(events)
        changed[i] = replace(events[i], text=events[k].text)
        changed[k] = replace(events[k], text=events[i].text)
        if _told(changed) != told:  # not where both are at one time
            exchanged.append(changed)
    return exchanged[int(rng.integers(len(exchanged)))] if exchanged else None


def _told(events: Sequence[Event]) -> list[tuple[tuple[str, str], str]]:
    """What is told when, whatever the order."""
    return sorted((span(e.start_s, e.end_s), e.text) for e in events)


def shifted(events: Sequence[Event], shown: Window, rng: np.random.Generator) -> list[Event] | None:
    """All times are early, or late, by the same; a scene that leaves what is shown is left out."""
    length_s = shown.end_s - shown.start_s
    by_s = float(rng.uniform(*SHIFT)) * length_s * float(rng.choice([-1, 1]))
    moved = []
    for event in events:
        start_s, end_s = np.clip(
            [event.start_s + by_s, event.end_s + by_s], shown.start_s, shown.end_s
        ).tolist()
        if end_s - start_s >= min(1.0, (event.end_s - event.start_s) / 2):
            moved.append(Event(start_s, end_s, event.text))
    return moved or None


def repeated(
    events: Sequence[Event], shown: Window, rng: np.random.Generator
) -> list[Event] | None:
    """One scene is told again and again, and in the place of what follows."""
    if not events:
        return None
    begin = int(rng.integers(len(events)))
    times = int(rng.integers(TIMES_REPEATED[0], TIMES_REPEATED[1] + 1))
    said = events[begin]
    edges = np.linspace(said.start_s, max(shown.end_s, said.end_s), times + 1).tolist()
    again = [Event(start_s, end_s, said.text) for start_s, end_s in pairwise(edges)]
    return [*events[:begin], *again]


WORSE: Mapping[Maker, Worsen] = {
    "dropped": dropped,
    "swapped": swapped,
    "shifted": shifted,
    "repeated": repeated,
}
