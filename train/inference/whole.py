"""What a model said of the windows of a video, put together to one description of the video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.sample import Event
from data.target import parse_timeline, timeline
from data.window import Window, joined, on_video_clock, unmarked, window_of
from train.sections import DataKeys


@dataclass(frozen=True)
class Whole:
    """The description of a video."""

    text: str
    """As the model wrote it. Of several windows: a timeline of the joined events, or their paragraphs."""
    events: tuple[Event, ...]
    """With times of the video."""
    unusable: int
    """Lines that had no usable times, of a timeline; events altogether outside the video or window."""
    moved: int
    """Events of which a time was outside, moved to the edge."""
    windows: int


def put_together(rows: Sequence[Mapping[str, Any]], texts: Sequence[str], keys: DataKeys) -> Whole:
    """The description of a video from those of its windows, in order.

    Args:
        rows: the windows' rows; of each, `duration_s`, `start_s` and `end_s` are used.
    """
    windows = [window_of(dict(row)) or Window(0.0, float(row["duration_s"])) for row in rows]
    said, unusable, moved = [], 0, 0
    for window, text in zip(windows, texts, strict=True):
        events, bad = parse_timeline(text)
        clock = keys.window_clock if len(rows) > 1 else "video"
        events, edged, outside = on_video_clock(events, window, clock)
        said.append(events)
        unusable += bad + outside
        moved += edged
    if len(rows) == 1:
        return Whole(texts[0], tuple(said[0]), unusable, moved, 1)
    events = joined(windows, said)
    if keys.target == "timeline" and events:
        text = timeline(events, keys.clock)
    else:
        text = "\n\n".join(filter(None, (unmarked(one) for one in texts)))
    return Whole(text, tuple(events), unusable, moved, len(rows))
