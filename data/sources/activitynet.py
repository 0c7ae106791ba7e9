"""ActivityNet Captions, YouCook2 and any file in one of their formats.

ActivityNet:  {"v_…": {"duration": 55.15, "timestamps": [[0.28, 55.15], …], "sentences": ["…", …]}}
YouCook2:     {"database": {"<id>": {"subset": "training", "duration": …,
               "annotations": [{"segment": [s, e], "sentence": "…"}]}}}

Videos are found below `source.videos` (default: beside the file) as `<id>.mp4`, with or without `v_`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.sample import FilteredOut, Rejected, Sample
from data.sources.config import SourceKeys
from data.sources.find_video import VideoFolder, video_files
from data.sources.parse import (
    Span,
    as_dicts,
    at_most,
    clean_events,
    single_line,
    time_s,
    wanted_ids,
)
from data.sources.sentences import ended

SUBSETS = {"training": "train", "validation": "validation", "testing": "test"}


def read(keys: SourceKeys) -> Iterator[Sample | Rejected | FilteredOut]:
    """Videos in file order."""
    path, rows = _load(keys)
    ids = wanted_ids(keys.ids)
    videos = video_files(keys.videos or str(path.parent))
    if keys.shuffle_seed is not None:
        random.Random(keys.shuffle_seed).shuffle(rows)
    samples = (sample_of(name, row, keys, videos, ids) for name, row in rows)
    yield from at_most(samples, keys.limit)


def count(keys: SourceKeys) -> int | None:
    """Number of rows that `read` will yield; with a filter set, the limit, or None without a limit."""
    if keys.split != "all" or keys.ids is not None:
        return keys.limit
    rows = len(_load(keys)[1])
    return min(rows, keys.limit or rows)


def version(keys: SourceKeys) -> str:
    """SHA-256 of the file."""
    with _load(keys)[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(keys: SourceKeys) -> tuple[Path, list[tuple[str, Any]]]:
    path = Path(keys.path or "")
    if not path.is_file():
        raise UserError(f"source.path={path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: an object of videos was expected, got {type(content).__name__}")
    return path, list(entries(content).items())


def entries(content: dict[str, Any]) -> dict[str, Any]:
    """The entries of a file in either format: video id → entry."""
    inner = content.get("database")
    return inner if isinstance(inner, dict) else content


def sample_of(
    name: str,
    row: Any,
    keys: SourceKeys,
    videos: VideoFolder,
    ids: frozenset[str] | None = None,
) -> Sample | Rejected | FilteredOut:
    """One entry → a sample. Never raises, whatever the entry holds."""
    name = single_line(name)
    if ids is not None and name not in ids:
        return FilteredOut("not in source.ids")
    if not isinstance(row, dict):
        return Rejected(name, name, "bad row", f"{name}: an object was expected")
    subset = SUBSETS.get(single_line(row.get("subset")))
    if keys.split != "all" and subset != keys.split:
        return FilteredOut("in another split")
    video = videos.find(name, ("", "v_")) or videos.find(name.removeprefix("v_"))
    if video is None:
        return Rejected(name, name, "missing file", f"{name}: not below {videos.place}")
    events, repairs = clean_events(spans(row), time_s(row.get("duration")))
    if not events:
        return Rejected(name, video.name, "no target left", f"{name}: no sentence with a time")
    description = " ".join(ended(e.text) for e in events)
    return Sample(
        id=name,
        source="activitynet",
        video_id=name.removeprefix("v_"),
        video=video,
        events=events,
        description=description,
        subtitles=keys.speech_context,
        repairs=repairs,
    )


def spans(row: dict[str, Any]) -> Iterator[Span]:
    """The events of an entry as written there, unchecked."""
    for annotation in as_dicts(row.get("annotations")):
        yield Span(*pair(annotation.get("segment")), single_line(annotation.get("sentence")))
    times, sentences = row.get("timestamps"), row.get("sentences")
    if isinstance(times, list) and isinstance(sentences, list):
        for i in range(max(len(times), len(sentences))):
            yield Span(
                *pair(times[i] if i < len(times) else None),
                single_line(sentences[i] if i < len(sentences) else None),
            )


def pair(value: Any) -> tuple[float | None, float | None]:
    """Start and end in seconds, from numbers or `MM:SS`; None for what is neither."""
    if isinstance(value, list) and len(value) == 2:
        return time_s(value[0]), time_s(value[1])
    return None, None
