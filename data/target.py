"""A sample as the text that the model should say, and a generated timeline back as events.

A timeline line is `[MM:SS - MM:SS] text`, on the clock that SmolVLM2's prompt prints for frames
(minutes may exceed 59). Starts are rounded down and ends up, so that the text never makes an event
shorter than it is, and its length is never zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from data.sample import Event

Style = Literal["timeline", "paragraph"]
_CLOCK = r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,6})?)"
_LINE = re.compile(
    rf"^\W{{0,4}}{_CLOCK}\s*(?:-|–|—|to)\s*{_CLOCK}\s*[\])]?\s*[:\-–—]?\s*(.*)$", re.S
)


def clock(seconds: float) -> str:
    """75.9 → `01:15`."""
    seconds = int(seconds)
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def timeline(events: Sequence[Event]) -> str:
    """One line per event, by start."""
    lines = []
    for event in sorted(events, key=lambda e: (e.start_s, e.end_s)):
        start = math.floor(event.start_s + 1e-6)
        end = max(math.ceil(event.end_s - 1e-6), start + 1)
        lines.append(f"[{clock(start)} - {clock(end)}] {' '.join(event.text.split())}")
    return "\n".join(lines)


def target(events: Sequence[Event], description: str, style: Style) -> tuple[str, bool]:
    """The answer to learn, and whether it had to fall back to the other style.

    `timeline` without events falls back to the description, `paragraph` without a description to
    the timeline.
    """
    lines, paragraph = timeline(events), description.strip()
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
