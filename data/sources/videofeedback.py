"""VideoFeedback (TIGER-Lab/VideoFeedback): short clips with a one-line caption and five scores.

`real` holds real videos, `annotated` generated ones. The caption of a generated video is the prompt it
was made from; `source.min_alignment=3` keeps the videos that match it. Videos are read from a folder or
the dataset's zip (`source.videos`), or one by one from the Hub.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from data.media import HubFile, Media
from data.sample import FilteredOut, Reason, Rejected, Repair, Sample, Turn
from data.sources.config import SourceKeys
from data.sources.find_video import VideoFolder, video_files
from data.sources.known_sources import VIDEOFEEDBACK
from data.sources.parquet import is_local_file, num_rows, table_rows, tables, tables_version
from data.sources.parse import at_most, number, single_line, wanted_ids
from data.sources.sentences import capital

LICENCE = "Apache-2.0"
SCORES = (
    "visual quality",
    "temporal consistency",
    "dynamic degree",
    "text-to-video alignment",
    "factual consistency",
)
RATING = (
    "Rate this video from 1 (bad) to 4 (perfect): visual quality, temporal consistency, "
    "dynamic degree, text-to-video alignment, factual consistency."
)
_ID = re.compile(r"\w[\w-]{0,99}")
VIDEOS = "hexuan21/VideoFeedback-videos-mp4"
_LINK = re.compile(
    rf"https://huggingface\.co/datasets/{VIDEOS}/resolve/[\w.-]+/((?:[\w-]+/)*[\w-]+\.mp4)"
)
"""The only links that are followed: a row's text must not decide where this machine connects to."""


def _pattern(keys: SourceKeys) -> str:
    part = "*" if keys.split == "all" else keys.split
    return f"{keys.subset}/{part}-*.parquet"


def read(keys: SourceKeys) -> Iterator[Sample | Rejected | FilteredOut]:
    """Rows in file order."""
    ids = wanted_ids(keys.ids)
    videos = None if keys.videos is None else video_files(keys.videos)
    rows = (sample_of(row, keys, where, videos, ids) for where, row in _rows(keys))
    yield from at_most(rows, keys.limit)


def _rows(keys: SourceKeys) -> Iterator[tuple[str, dict[str, Any]]]:
    optional = [*SCORES, "conversations"] if keys.min_alignment is None and not keys.rating else []
    needed = ["id", "text prompt", *([] if optional else SCORES)]
    if keys.videos is None:
        needed.append("video link")
    rows = (
        (f"{url.rsplit('/', 1)[-1]}#{i}", row)
        for url in tables(keys, VIDEOFEEDBACK, _pattern(keys))
        for i, row in table_rows(url, needed, optional=[*optional, "video link"])
    )
    if keys.shuffle_seed is not None:  # rows hold no videos: all together are a few megabytes
        every = list(rows)
        random.Random(keys.shuffle_seed).shuffle(every)
        return iter(every)
    return rows


def count(keys: SourceKeys) -> int | None:
    """Number of rows that `read` will yield, or None if it is not known without reading them."""
    if keys.limit is not None or keys.ids is not None or keys.min_alignment is not None:
        return keys.limit
    urls = tables(keys, VIDEOFEEDBACK, _pattern(keys))
    return num_rows(urls) if all(map(is_local_file, urls)) else None


def version(keys: SourceKeys) -> str:
    """A text that identifies the state of the dataset."""
    return tables_version(keys, VIDEOFEEDBACK, _pattern(keys))


def sample_of(
    row: dict[str, Any],
    keys: SourceKeys,
    where: str,
    videos: VideoFolder | None,
    ids: frozenset[str] | None = None,
) -> Sample | Rejected | FilteredOut:
    """One row → a sample. Never raises, whatever the row holds."""
    name, caption = single_line(row.get("id")), single_line(row.get("text prompt"))
    if ids is not None and name not in ids:
        return FilteredOut("not in source.ids")
    scores = {s: number(row.get(s)) for s in SCORES}
    alignment = scores["text-to-video alignment"]
    if keys.min_alignment is not None and (alignment is None or alignment < keys.min_alignment):
        return FilteredOut("caption does not match")
    if not _ID.fullmatch(name):
        return Rejected(where, name[:200], "bad row", f"{where}: id {name[:80]!r} is no id")
    if not caption:
        return Rejected(name, name, "no target left", f"{where}: 'text prompt' is empty")
    video = _video(row, name, videos)
    if video is None:
        link = single_line(row.get("video link"))[:200]
        detail = (
            f"not in {videos.place}" if videos else f"'video link' is no file of the Hub: {link}"
        )
        reason: Reason = "missing file" if videos else "bad row"
        return Rejected(name, link or name, reason, f"{where}: {detail}")
    rated = {s: int(v) for s, v in scores.items() if v is not None and v == int(v)}
    turns: tuple[Turn, ...] = ()
    repairs: tuple[Repair, ...] = ()
    if keys.rating and len(rated) == len(SCORES):
        turns = (Turn(RATING, "\n".join(f"{s}: {rated[s]}" for s in SCORES)),)
    elif keys.rating:
        repairs = (Repair("no rating", 1),)
    return Sample(
        id=name,
        source="videofeedback",
        video_id=name,
        video=video,
        description=capital(caption),
        turns=turns,
        credit=f"{name} of {VIDEOFEEDBACK}, {LICENCE}",
        metadata=json.dumps({"video_id": name, "subset": keys.subset, "licence": LICENCE, **rated}),
        repairs=repairs,
    )


def _video(row: dict[str, Any], name: str, videos: VideoFolder | None) -> Media | None:
    if videos is not None:
        return videos.find(name)
    found = _LINK.fullmatch(single_line(row.get("video link")))
    return HubFile(VIDEOS, found[1]) if found else None
