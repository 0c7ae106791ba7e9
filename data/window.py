"""Windows: parts of a long video, each a row of the prepared dataset and a prompt of its own.

A row keeps its video's clock: times of frames and events count from the video's start. What a model sees of a
window (`as_seen`), and what it says (`joined`), are made from that here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from data.sample import Event, events_of
from data.target import parse_timeline, timeline

WindowClock = Literal["own", "video"]
FILLED_S = 1.0
"""An event belongs to each window in which it lasts this long, or half of its own length."""
SEAM_S = 1.0
"""Events that end or start within this of a seam touch it."""
ROUNDED_S = 1.0
"""Times are rounded: this far outside a window is not counted as outside."""
GOES_ON = "…"
"""At the end of an event that goes on after its window, and before one that began before it."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a video, in seconds from the video's start."""

    start_s: float
    end_s: float


def window_of(row: Row) -> Window | None:
    """The window that a prepared row shows; None: the whole video."""
    if row.get("start_s", 0.0) == 0.0 and row.get("end_s", row["duration_s"]) >= row["duration_s"]:
        return None
    return Window(row["start_s"], row["end_s"])


def fills(event: Event, window: Window) -> bool:
    """Whether an event belongs to a window: each event belongs to at least one of those that tile a video."""
    inside_s = min(event.end_s, window.end_s) - max(event.start_s, window.start_s)
    return inside_s >= min(FILLED_S, (event.end_s - event.start_s) / 2) - 1e-9


def inside(events: Sequence[Event], window: Window) -> list[Event]:
    """The events of a window, cut at its seams and marked there, on the video's clock."""
    cut = []
    for event in events:
        if not fills(event, window):
            continue
        text = event.text
        if event.start_s < window.start_s:
            text = f"{GOES_ON} {text}"
        if event.end_s > window.end_s:
            text = f"{text} {GOES_ON}"
        start_s, end_s = max(event.start_s, window.start_s), min(event.end_s, window.end_s)
        cut.append(Event(start_s, end_s, text))
    return cut


def as_seen(row: Row, clock: WindowClock) -> Row:
    """A row of a window as if the window were a video: its events are those inside, its description is their
    sentences, for the row's own is that of the whole video. With `own`, times count from the window's start.
    A row of a whole video stays as it is."""
    window = window_of(row)
    if window is None:
        return row
    start_s = window.start_s if clock == "own" else 0.0
    duration_s = window.end_s - window.start_s if clock == "own" else row["duration_s"]
    seen = {
        **row,
        "times_s": [time_s - start_s for time_s in row["times_s"]],
        "duration_s": duration_s,
        "start_s": 0.0,
        "end_s": duration_s,
    }
    if row.get("context"):
        seen["context"] = _context_of(row["context"], window, start_s)
    if "events" in row:
        events = inside(events_of(row), window)
        seen["events"] = [
            {"start_s": e.start_s - start_s, "end_s": e.end_s - start_s, "text": e.text}
            for e in events
        ]
        seen["description"] = " ".join(e.text for e in events)
    return seen


def _context_of(text: str, window: Window, start_s: float) -> str:
    """The lines of a context text that are said in the window, with times from `start_s`; lines without times
    stay. Of a paragraph that had lines with times, and none is left, nothing is."""
    parts = (_paragraph_of(part, window, start_s) for part in text.split("\n\n"))
    return "\n\n".join(filter(None, parts))


def _paragraph_of(text: str, window: Window, start_s: float) -> str:
    lines, timed, left = [], 0, 0
    for line in text.split("\n"):
        said, _ = parse_timeline(line)
        if not said:
            lines.append(line)
            continue
        timed += 1
        begin_s, end_s = max(said[0].start_s, window.start_s), min(said[0].end_s, window.end_s)
        if begin_s < end_s:
            left += 1
            lines.append(timeline([Event(begin_s - start_s, end_s - start_s, said[0].text)]))
    return "" if timed and not left else "\n".join(lines)


def on_video_clock(
    events: Sequence[Event], window: Window, clock: WindowClock
) -> tuple[list[Event], int, int]:
    """What a model said of a window, with times of the video. A time outside the window is moved to its edge,
    and an event that lies outside altogether is left out.

    Returns:
        the events, how many of them were moved, and how many others were left out.
    """
    start_s = window.start_s if clock == "own" else 0.0
    found, moved = [], 0
    for event in events:
        begin_s, end_s = event.start_s + start_s, event.end_s + start_s
        within = Window(max(begin_s, window.start_s), min(end_s, window.end_s))
        if within.start_s < within.end_s:
            found.append(Event(within.start_s, within.end_s, event.text))
            # a time in whole units may pass the edge by less than one
            moved += max(within.start_s - begin_s, end_s - within.end_s) >= ROUNDED_S
    return found, moved, len(events) - len(found)


def joined(windows: Sequence[Window], said: Sequence[Sequence[Event]]) -> list[Event]:
    """The events of consecutive windows as those of the video, without marks, by start.

    An event that ends at a seam and one that starts there are one if their words are the same, or if both are
    marked as going on; of several, those with most words in common, each once. The words of the longer stay.

    Args:
        said: what is said of each window, on the video's clock.
    """
    done: list[Event] = []
    before: list[Event] = []  # of the window before, each perhaps longer than it
    for number, events in enumerate(said):
        own = sorted(events, key=lambda e: (e.start_s, e.end_s))
        if number:
            before, own = _over_the_seam(before, own, windows[number].start_s)
        done += before
        before = own
    done += before
    return sorted(
        (replace(e, text=unmarked(e.text)) for e in done), key=lambda e: (e.start_s, e.end_s)
    )


def _over_the_seam(
    before: Sequence[Event], after: Sequence[Event], seam_s: float
) -> tuple[list[Event], list[Event]]:
    """The events on both sides, with those that are one taken from the left and extended on the right."""
    pairs = []
    for i, left in enumerate(before):
        for k, right in enumerate(after):
            if left.end_s < seam_s - SEAM_S or right.start_s > seam_s + SEAM_S:
                continue
            one, other = _words(left.text), _words(right.text)
            marked = left.text.endswith(GOES_ON) and right.text.startswith(GOES_ON)
            if marked or (one and one == other):
                shared = len(set(one) & set(other)) / max(1, len(set(one) | set(other)))
                pairs.append((-shared, abs(i - k), i, k))
    gone: set[int] = set()
    extended: dict[int, Event] = {}
    for _, _, i, k in sorted(pairs):
        if i not in gone and k not in extended:
            gone.add(i)
            left, right = before[i], after[k]
            text = _text_of_one(left, right)
            extended[k] = Event(left.start_s, right.end_s, text)
    kept = [event for i, event in enumerate(before) if i not in gone]
    return kept, [extended.get(k, event) for k, event in enumerate(after)]


def _text_of_one(left: Event, right: Event) -> str:
    """The words of the longer part; the mark of the end stays, for the next seam."""
    longer = max(left, right, key=lambda e: e.end_s - e.start_s)
    mark = f" {GOES_ON}" if right.text.endswith(GOES_ON) else ""
    return unmarked(longer.text) + mark


def unmarked(text: str) -> str:
    """The text without the marks of an event that goes on."""
    return text.removeprefix(GOES_ON).removesuffix(GOES_ON).strip()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def rows_of_samples(sample_ids: Sequence[str]) -> dict[str, list[int]]:
    """Sample id → the positions of its rows, in order."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(sample_ids):
        found.setdefault(name, []).append(place)
    return found


def whole_events(rows: Sequence[Row]) -> list[Event]:
    """The events of a video from the rows of its windows: an event over a seam stands in both."""
    found: list[Event] = []
    for row in rows:
        own = events_of(row)
        found += [e for e in own if found.count(e) < own.count(e)]
    return sorted(found, key=lambda e: (e.start_s, e.end_s))
