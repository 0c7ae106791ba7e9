"""The fields of a row of JSON Lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from data.regions import Track, parse_boxes
from data.sample import TEACHER
from data.sources.dialects import BadRow
from data.sources.parse import Span, prose, single_line, time_s, without_surrogates


def duration_of(row: dict[str, Any]) -> float | None:
    value = row.get("duration_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadRow(f"duration_s must be a number above 0, got {value!r}")
    return float(value)


def text_of(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if key in ("id", "video_id") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRow(f"{key} must be text, got {type(value).__name__}")
    return without_surrogates(value).strip() if key in ("id", "video_id") else prose(value)


def spans_of(value: Any) -> Iterator[Span]:
    """The events of a row as written there, times unchecked.

    Raises:
        BadRow: an entry is not an event at all.
    """
    if value is not None and not isinstance(value, list):
        raise BadRow(f"events must be a list of [start_s, end_s, text], got {type(value).__name__}")
    for i, item in enumerate(value or ()):
        if isinstance(item, dict):
            item = [item.get("start_s"), item.get("end_s"), item.get("text")]
        if not isinstance(item, list) or len(item) != 3 or not isinstance(item[2], str):
            raise BadRow(f"events[{i}] must be [start_s, end_s, text], got {item!r}")
        if any(isinstance(t, bool | list | dict) for t in item[:2]):
            raise BadRow(f"events[{i}]: times are seconds or MM:SS, got {item[:2]!r}")
        yield Span(time_s(item[0]), time_s(item[1]), single_line(item[2]))


def boxes_of(row: dict[str, Any]) -> Track:
    """Those of the row, or of its events put together.

    Raises:
        BadRow: they are no boxes.
    """
    own = row.get("boxes")
    events = [one for one in row.get("events") or () if isinstance(one, dict)]
    try:
        if own is None:
            own = sorted((seen for one in events for seen in one.get("boxes") or ()), key=_time)
        return parse_boxes(own) if own else ()
    except (ValueError, TypeError, IndexError) as error:
        raise BadRow(str(error)) from None


def metadata_of(row: dict[str, Any]) -> str:
    """That a model wrote the row, and which."""
    teacher = row.get("teacher")
    if teacher is None:
        return "{}"
    if not isinstance(teacher, dict) or not isinstance(teacher.get("model"), str):
        raise BadRow('teacher must be {"model": NAME}, as scripts/caption.py writes it')
    words = {key: without_surrogates(str(value))[:200] for key, value in teacher.items()}
    return json.dumps({TEACHER: words}, ensure_ascii=False)


def _time(entry: Any) -> float:
    return float(entry[0])
