"""Events as subtitles: SubRip (`.srt`) and WebVTT (`.vtt`)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any


def srt(record: Mapping[str, Any]) -> str:
    """A described video as SubRip; a text without times is one cue over the whole video."""
    cues = [
        f"{number}\n{_time(start_s, ',')} --> {_time(end_s, ',')}\n{text}\n"
        for number, (start_s, end_s, text) in enumerate(_cues(record), start=1)
    ]
    return "\n".join(cues)


def vtt(record: Mapping[str, Any]) -> str:
    """A described video as WebVTT; a text without times is one cue over the whole video."""
    cues = [
        f"\n{_time(start_s, '.')} --> {_time(end_s, '.')}\n{escape(text, quote=False)}\n"
        for start_s, end_s, text in _cues(record)
    ]
    return "WEBVTT\n" + "".join(cues)


def _cues(record: Mapping[str, Any]) -> list[tuple[float, float, str]]:
    events = [(e["start_s"], e["end_s"], e["text"]) for e in record["events"]]
    events = events or [(0.0, record["duration_s"], record["text"])]
    return [(start_s, end_s, shown) for start_s, end_s, text in events if (shown := _shown(text))]


def _shown(text: str) -> str:
    """Without empty lines, which would end a cue, and arrows, which would begin one."""
    return "\n".join(filter(str.strip, text.replace("-->", "→").splitlines()))


def _time(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and thousandths."""
    thousandths = round(seconds * 1000)
    whole, rest = divmod(thousandths, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{rest:03d}"
