"""A user's own videos: one JSON object per line.

Own rows:   {"video": "a.mp4", "description": "…", "events": [[0.0, 2.5, "…"], …], "id"?, "video_id"?, "prompt"?, "credit"?,
             "teacher"?: {"model": …} if a model wrote it}
LLaVA rows: {"video": "a.mp4" | ["a.mp4"], "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", …}]}
Chat rows:  {"messages": [{"role": "user", "content": "…" | [{"type": "video", "path": …}, {"type": "text", …}]}, …],
             "videos"?: ["a.mp4"]}
Frame rows: {"frames": ["a/0.jpg", "a/1.jpg", …], "times_s": [0.0, 0.5, …] | "fps": 2, "duration_s"?, …}: pictures
             already taken from a video, with their own times; also as "video" or "videos": [["a/0.jpg", …]]

A relative `video` is looked up beside the JSONL file, or below `source.videos`: there by its path, else
by its name in any folder. `events` may also be objects with `start_s`, `end_s`, `text`; times are
seconds or `MM:SS`. Several conversations on one video without an `id` get one each. A file named
`.json` holds one list of such objects, as LLaVA writes it. Rows of ShareGPT4Video, PLM-Video-Human and
Vript are converted in `dialects.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.media import FrameFiles, Media, VideoFile
from data.regions import PROMPT, parse_boxes
from data.sample import Rejected, Repair, Sample
from data.sources.chat import exchanges_of
from data.sources.config import SourceKeys
from data.sources.dialects import BadRow, own_rows
from data.sources.fields import boxes_of, duration_of, metadata_of, spans_of, text_of
from data.sources.find_video import ENDINGS, VideoFolder, stem, video_files
from data.sources.ids import Ids
from data.sources.lines import json_lines, num_lines
from data.sources.masklets import boxes_of_masklet
from data.sources.parse import (
    at_most,
    clean_events,
    without_surrogates,
)

UNMARKED = "no masks beside the video: its subject is not marked"


@dataclass
class _Place:
    """Where the videos of a file's rows are."""

    root: Path
    given: bool
    """Whether `root` is `source.videos`; then a video is also found by its name alone."""
    subtitles: bool
    """Whether their subtitles become context."""
    files: VideoFolder | None = None

    def find(self, video: str) -> Media:
        path = self.root / video
        if not self.given or path.is_file():
            return VideoFile(str(path))
        self.files = self.files or video_files(str(self.root))
        return self.files.find(stem(video)) or VideoFile(str(path))


def read(keys: SourceKeys) -> Iterator[Sample | Rejected]:
    """Samples in file order; a row that cannot be read is yielded as `Rejected`, never raised."""
    path = _file(keys)
    place = _Place(Path(keys.videos or path.parent), keys.videos is not None, keys.speech_context)
    names = Ids()
    samples = (
        found
        for number, row in _rows(path, keys.shuffle_seed)
        for found in _of_row(row, f"{path.name}:{number}", place, names)
    )
    yield from at_most(samples, keys.limit)


def _of_row(row: Any, where: str, place: _Place, names: Ids) -> Iterator[Sample | Rejected]:
    try:
        if isinstance(row, BadRow):
            raise row
        if not isinstance(row, dict):
            raise BadRow(f"a row is an object, got {type(row).__name__}")
        rows = own_rows(row)
    except (BadRow, OverflowError) as error:
        yield _rejected(row, where, error)
        return
    for own in rows:
        try:
            yield replace(_sample(own, place, names), subtitles=place.subtitles)
        # a path such as `/` is a ValueError, one that is too long an OSError
        except (BadRow, ValueError, OverflowError, OSError) as error:
            yield _rejected(own, where, error)


def _rejected(row: Any, where: str, error: Exception) -> Rejected:
    name = row.get("id") if isinstance(row, dict) else None
    video = row.get("video") if isinstance(row, dict) else None
    return Rejected(
        id=without_surrogates(str(name))[:200] if name is not None else where,
        video=without_surrogates(str(video or ""))[:500],
        reason="bad row",
        detail=without_surrogates(f"{where}: {error}")[:500],
    )


def count(keys: SourceKeys) -> int | None:
    """Number of rows that `read` will yield, for the progress bar's ETA; None if counting needs parsing.

    Raises:
        UserError: there is no such file.
    """
    path = _file(keys)
    if path.suffix == ".json":
        return None
    rows = num_lines(path)
    return min(rows, keys.limit or rows)


def version(keys: SourceKeys) -> str:
    """SHA-256 of the file."""
    with _file(keys).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(keys: SourceKeys) -> Path:
    path = Path(keys.path or "")
    if not path.is_file():
        raise UserError(
            f"source.path={keys.path}: {'is a folder' if path.is_dir() else 'no such file'}"
        )
    return path


def _rows(path: Path, shuffle_seed: int | None) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".json":  # one list, as LLaVA writes
        try:
            rows = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON: {error}") from None
        if not isinstance(rows, list):
            raise UserError(
                f"{path}: a list of rows was expected; one row a line goes in a .jsonl file"
            )
        order = list(range(len(rows)))
        if shuffle_seed is not None:
            random.Random(shuffle_seed).shuffle(order)
        yield from ((i + 1, rows[i]) for i in order)
        return
    for number, found in json_lines(path, shuffle_seed):
        bad = isinstance(found, Exception)
        yield number, BadRow(f"not JSON: {found}") if bad else found


def _sample(row: dict[str, Any], place: _Place, names: Ids) -> Sample:
    exchanges, system, chat_video = exchanges_of(row)
    video, named_after = _media(row, chat_video, place)
    prompt, description = text_of(row, "prompt"), text_of(row, "description")
    if exchanges:
        prompt, description = prompt or exchanges[0].prompt, description or exchanges[0].answer
    events, repairs = clean_events(spans_of(row.get("events")), duration_of(row))
    boxes = boxes_of(row)
    if not boxes and "masklet_id" in row and isinstance(video, VideoFile):
        found = boxes_of_masklet(video.path, row["masklet_id"])
        boxes = parse_boxes(found) if found else ()
        repairs = repairs if found else (*repairs, Repair(UNMARKED, 1))
    if boxes and not prompt:
        prompt = PROMPT
    if not events and not description:
        why = ", ".join(f"{r.count} × {r.what}" for r in repairs)
        why = (
            f"no usable event ({why})"
            if why
            else "give description, events, conversations or messages"
        )
        raise BadRow(f"nothing to learn: {why}")
    return Sample(
        id=text_of(row, "id") or names.of(row, named_after, several=bool(exchanges or boxes)),
        source="jsonl",
        video_id=text_of(row, "video_id"),
        video=video,
        events=events,
        description=description,
        prompt=prompt,
        system=system,
        context=text_of(row, "context"),
        turns=tuple(exchanges[1:]),
        credit=text_of(row, "credit"),
        boxes=boxes,
        metadata=metadata_of(row),
        repairs=repairs,
    )


def _media(row: dict[str, Any], chat_video: str, place: _Place) -> tuple[Media, str]:
    """(the video, the id to use if the row has none): that id is the video's path without its extension,
    or the folder of its pictures."""
    value = row.get("frames")
    if value is None:
        value = row.get("video") or row.get("videos") or chat_video
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, list):
            path = _path(value)
            return place.find(path), _public_id(Path(path).with_suffix(""), place)
    if not isinstance(value, list) or not value:
        raise BadRow(f"frames must be a list of picture files, got {type(value).__name__}")
    names = [_path(item) for item in value]
    if any(Path(name).suffix.lower() in ENDINGS for name in names):
        raise BadRow(f"one video a row, got {len(names)}")
    paths = tuple(str(place.root / name) for name in names)
    frames = FrameFiles(paths, _frame_times(row, len(paths)), duration_of(row))
    return frames, _public_id(Path(names[0]).parent, place)


def _public_id(path: Path, place: _Place) -> str:
    """An id made from a path. It hides where the video is on this machine, since ids go with the rows."""
    if not path.is_absolute():
        return path.as_posix()
    if path.is_relative_to(place.root):
        return path.relative_to(place.root).as_posix()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _frame_times(row: dict[str, Any], count: int) -> tuple[float, ...]:
    times, fps = row.get("times_s"), row.get("fps")
    if times is None and isinstance(fps, int | float) and not isinstance(fps, bool) and fps > 0:
        times = [i / fps for i in range(count)]
    if not isinstance(times, list) or len(times) != count:
        raise BadRow(f"{count} frame files need times_s, a time in seconds for each, or fps")
    if any(isinstance(t, bool) or not isinstance(t, int | float) for t in times):
        raise BadRow(f"times_s are numbers, got {times[:3]!r}")
    if not all(map(math.isfinite, times)) or times[0] < 0:
        raise BadRow(f"times_s must be finite and not below 0, got {times[:3]!r}")
    if any(b <= a for a, b in pairwise(times)):
        raise BadRow("times_s must increase from frame to frame")
    return tuple(map(float, times))


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise BadRow("video is missing: give the path of one video file")
    if "://" in value:
        raise BadRow(f"video={value}: give a local file; download it first")
    if "\0" in value:
        raise BadRow("video holds a NUL character")
    return without_surrogates(value)
