"""The types that flow from a source to a shard. Times are seconds from the start of the video."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from data.media import Media

TEACHER = "teacher"
"""Key of `Sample.metadata` that says which model wrote the labels, if one did."""
Reason = Literal[
    "bad row",
    "no target left",
    "same id twice",
    "missing file",
    "unreadable",
    "no video stream",
    "no frames",
    "truncated",
    "too short",
    "too large",
    "timeout",
    "memory",
    "crash",
]
"""Why a row is quarantined. A closed list, so that counts of two runs can be compared."""


@dataclass(frozen=True, slots=True)
class Stated:
    """An event as a file states it, unchecked: its times may be reversed, equal or outside the video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Event(Stated):
    """Something that happens from `start_s` to `end_s` (half-open), described by `text`."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise ValueError(f"event times must be finite, got {self.start_s} to {self.end_s}")
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"an event needs 0 <= start < end, got {self.start_s} to {self.end_s}")


def events_of(row: dict[str, Any]) -> list[Event]:
    """The events of a prepared row."""
    return [Event(e["start_s"], e["end_s"], e["text"]) for e in row["events"]]


@dataclass(frozen=True, slots=True)
class Turn:
    """One question about the video and its answer, after the description."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Repair:
    """Something in a row that was repaired or dropped, and how often."""

    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One video and what should be said about it."""

    id: str
    source: str
    video: Media
    video_id: str = ""
    """Id of the video, the same in all its rows: they are trained on or held out together. Empty: an id
    is made from the file's content."""
    events: tuple[Event, ...] = ()
    description: str = ""
    prompt: str = ""
    """The instruction of this row alone; empty: the run's `data.prompt`."""
    system: str = ""
    """The system turn of this row alone; empty: the run's `data.system`."""
    context: str = ""
    """Text given in addition to the frames (speech, a title); it is put before the instruction."""
    turns: tuple[Turn, ...] = ()
    subtitles: bool = False
    """Timed text beside or inside the video is added to `context`."""
    untold: bool = False
    """Nothing is said of the video: it is to be described, not learned from."""
    credit: str = ""
    """Author, title and licence, worded as they must be credited."""
    boxes: tuple[Any, ...] = ()
    """Where the one subject is that the row is about (`data.regions.Track`); empty: it is about all of the video."""
    metadata: str = "{}"
    """Other facts that the dataset gives about it, as a JSON object."""
    repairs: tuple[Repair, ...] = ()


def teacher_of(metadata: str) -> str | None:
    """The model that wrote a row's labels; None: people did, as far as is known."""
    if f'"{TEACHER}"' not in metadata:
        return None
    told = json.loads(metadata).get(TEACHER)
    return str(told["model"]) if isinstance(told, dict) else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot become an example: one line of `quarantine.jsonl`."""

    id: str
    video: str
    reason: Reason
    detail: str
    digest: str = ""
    """Hash of the place in the code that failed: equal digests mean equal causes."""


@dataclass(frozen=True, slots=True)
class FilteredOut:
    """A row that the source's filters leave out: counted, not quarantined."""

    why: str


@dataclass(frozen=True, slots=True)
class AlreadyWritten:
    """A row that an earlier run wrote and that stays as it is."""

    id: str


@dataclass(frozen=True, slots=True)
class ShardItem:
    """A source row and the shard it belongs to."""

    shard: int
    item: Sample | Rejected | AlreadyWritten


Outcome = dict[str, Any] | Rejected | AlreadyWritten
"""What is written for a source row: a row of the prepared dataset (`data.prepared.shards.FEATURES`), several for
the windows of a long video; a rejection; or a mark that an earlier run wrote its rows."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The frames a policy chose, in time order.

    `ranks[i]` is the rank of frame i in the policy's order of importance: when a prompt must become
    shorter, the frame of rank 0 is dropped last.
    """

    times_s: tuple[float, ...]
    reasons: tuple[str, ...]
    ranks: tuple[int, ...]
    duration_s: float

    def __post_init__(self) -> None:
        if not len(self.times_s) == len(self.reasons) == len(self.ranks):
            raise ValueError("times_s, reasons and ranks must have one entry per frame")
        if any(b <= a for a, b in pairwise(self.times_s)):
            raise ValueError("times_s must be strictly increasing")
        if sorted(self.ranks) != list(range(len(self.ranks))):
            raise ValueError("ranks must be a permutation of 0..n-1")
