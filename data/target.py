"""A sample as the text that the model should say, and a generated timeline back as events.

A timeline line is `[MM:SS - MM:SS] text`, on the clock that SmolVLM2's prompt prints for frames
(minutes may exceed 59), or `[MM:SS.t - MM:SS.t] text` in tenths. Times are rounded to the nearest, so that
events that touch still touch; an event that would have no length gets the unit around its middle.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from data.sample import Event

Style = Literal["timeline", "paragraph"]
Unit = Literal["seconds", "tenths"]
"""What times are rounded to."""
UNITS: dict[Unit, int] = {"seconds": 1, "tenths": 10}
"""Units a second."""
_CLOCK = r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,6})?)"
_LINE = re.compile(
    rf"^\W{{0,4}}{_CLOCK}\s*(?:-|–|—|to)\s*{_CLOCK}\s*[\])]?\s*[:\-–—]?\s*(.*)$", re.S
)


def clock(seconds: float) -> str:
    """75.9 → `01:15`."""
    seconds = int(seconds)
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def stamp(units: int, unit: Unit) -> str:
    """Whole units as a time: 759 tenths → `01:15.9`."""
    seconds, rest = divmod(units, UNITS[unit])
    return clock(seconds) + (f".{rest}" if unit == "tenths" else "")


def timeline(events: Sequence[Event], unit: Unit = "seconds") -> str:
    """One line per event, by start."""
    lines = []
    for event in sorted(events, key=lambda e: (e.start_s, e.end_s)):
        start, end = span(event.start_s, event.end_s, unit)
        lines.append(f"[{start} - {end}] {' '.join(event.text.split())}")
    return "\n".join(lines)


def span(start_s: float, end_s: float, unit: Unit = "seconds") -> tuple[str, str]:
    """The times of an event, to the nearest unit and at least one apart."""
    per_s = UNITS[unit]
    start, end = (math.floor(t * per_s + 0.5 + 1e-6) for t in (start_s, end_s))
    if end <= start:
        start = math.floor((start_s + end_s) / 2 * per_s)
        end = start + 1
    return stamp(start, unit), stamp(end, unit)


def speech_context(said: Iterable[tuple[float, float, str]]) -> str:
    """What is said in a video as context for a prompt, a line per (start, end, words); empty if it is nothing."""
    lines = [
        # a second at least: a line without a length could not be given to its window
        f"[{clock(start_s)} - {clock(max(end_s, int(start_s) + 1))}] {text}"
        for start_s, end_s, text in said
    ]
    return "\n".join(["Speech:", *lines]) if lines else ""


def target(
    events: Sequence[Event], description: str, style: Style, unit: Unit = "seconds"
) -> tuple[str, bool]:
    """The answer to learn, and whether it had to fall back to the other style.

    `timeline` without events falls back to the description, `paragraph` without a description to
    the timeline.
    """
    lines, paragraph = timeline(events, unit), description.strip()
    first, second = (lines, paragraph) if style == "timeline" else (paragraph, lines)
    return (first, False) if first else (second, True)


def parse_timeline(text: str) -> tuple[list[Event], int]:
    """The events of a generated timeline, and the number of non-empty lines that are no events. Never
    raises.

    Times are `MM:SS` or `H:MM:SS`, optionally with a fraction after a point or a comma.
    """
    events, bad = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        found = _LINE.match(line.strip())
        if found is None:
            bad += 1
            continue
        h1, m1, s1, h2, m2, s2, words = found.groups()
        start_s, end_s = (
            int(h or 0) * 3600 + int(m) * 60 + float(s.replace(",", "."))
            for h, m, s in ((h1, m1, s1), (h2, m2, s2))
        )
        if end_s <= start_s:
            bad += 1
            continue
        events.append(Event(start_s, end_s, words.strip()))
    return events, bad
