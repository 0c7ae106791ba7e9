"""Reading fields of foreign rows: the value in the wanted type, or nothing, without raising."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from data.errors import UserError
from data.sample import Event, FilteredOut, Repair

Row = TypeVar("Row")
_CLOCK = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:[.,]\d*)?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_surrogates(text: str) -> str:
    """`text` with lone surrogates replaced: legal in JSON, but not in a tokenizer, a shard or a path."""
    return text.encode("utf-8", "replace").decode("utf-8")


def prose(text: str) -> str:
    """Text of any number of lines without control characters and surrogates.

    Joiners and soft hyphens are kept: they are parts of words (Persian, Sinhala, emoji).
    """
    return _CONTROLS.sub(" ", without_surrogates(text).replace("\r\n", "\n")).strip()


def single_line(value: Any) -> str:
    """`prose` on one line; empty if `value` is not text."""
    return " ".join(prose(value).split()) if isinstance(value, str) else ""


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; a single object gives a list of one, anything else an empty list."""
    if isinstance(value, dict):
        return [value]
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list | tuple) else []


def number(value: Any) -> float | None:
    """A finite number, which may be written as text; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def clock_s(value: Any) -> float | None:
    """`HH:MM:SS.mmm`, `MM:SS`, or seconds → seconds, not negative, or None. The decimal point may be a
    comma."""
    if isinstance(value, str):
        found = _CLOCK.fullmatch(value.strip())
        if found is None:
            return None
        hours, minutes, seconds = found.groups()
        seconds_s = float(seconds.replace(",", "."))
        return round(int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds_s, 6)
    found_s = number(value)
    return found_s if found_s is not None and found_s >= 0 else None


def time_s(value: Any) -> float | None:
    """As `clock_s`, but a number below zero is returned too: it is wrong, not missing."""
    found_s = clock_s(value)
    return number(value) if found_s is None else found_s


@dataclass(frozen=True, slots=True)
class Span:
    """An event as a dataset states it: its times may be missing or wrong."""

    start_s: float | None
    end_s: float | None
    text: str


def clean_events(
    spans: Iterable[Span], duration_s: float | None
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    """(events, repairs): the events are sorted, inside the video, not empty and not repeated.

    A span whose times cannot be right is dropped, because any other times would be invented.
    """
    counts: dict[str, int] = {}

    def note(what: str) -> None:
        counts[what] = counts.get(what, 0) + 1

    kept: list[Event] = []
    for span in spans:
        start_s, end_s = span.start_s, span.end_s
        if not span.text:
            note("no text")
        elif start_s is None or end_s is None:
            note("time missing")
        elif start_s < 0 or end_s < 0:
            note("time below zero")
        elif end_s == start_s:
            note("no length")
        elif end_s < start_s:
            note("ends before it starts")
        elif duration_s is not None and start_s >= duration_s:
            note("starts after the video's end")
        else:
            if duration_s is not None and end_s > duration_s:
                note("cut at the video's end")
                end_s = duration_s
            kept.append(Event(start_s, end_s, span.text))
    for before, after in pairwise(kept):
        if after.start_s < before.start_s:
            note("out of order")
    events: list[Event] = []
    for event in sorted(kept, key=lambda e: (e.start_s, e.end_s)):
        if event in events[-8:]:
            note("said twice")
        else:
            events.append(event)
    return tuple(events), tuple(Repair(what, n) for what, n in sorted(counts.items()))


def at_most(rows: Iterable[Row], limit: int | None) -> Iterator[Row]:
    """Rows up to the `limit`-th that filters keep; nothing is read after it. Filtered rows are yielded
    too, but not counted."""
    taken = 0
    for row in rows:
        yield row
        taken += not isinstance(row, FilteredOut)
        if taken == limit:
            return


def wanted_ids(ids: Sequence[str] | None) -> frozenset[str] | None:
    """The ids of `source.ids`: a list, or one text file with one id per line.

    Raises:
        UserError: the file cannot be read, or there are no ids.
    """
    if ids is None:
        return None
    if len(ids) == 1 and ids[0].endswith(".txt"):
        try:
            text = Path(ids[0]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"source.ids={ids[0]}: cannot be read ({error})") from None
        ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise UserError("source.ids: names no video")
    return frozenset(ids)
