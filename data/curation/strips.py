"""All videos of a prepared dataset as strips: their stored frames looked at once, some processes side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from joblib import cpu_count
from tqdm import tqdm

from data.curation.dull import Shares, shares_of
from data.curation.looks import NUM_LOOKS, looks_of, reduced
from data.curation.twins import Strip
from data.hub import opened
from data.prepared.dataset import Prepared
from data.prepared.shards import SHARES, read_columns

FEW = 200
"""Rows that are looked at sooner than processes have started."""
MOST_FRAMES = 64
"""Frames of a video that are looked at: of a film, some of each window."""
COLUMNS = [
    "id",
    "video_id",
    "frames",
    "times_s",
    "start_s",
    "end_s",
    "events",
    "description",
    "turns",
    *SHARES,
]


@dataclass(frozen=True)
class SeenRow:
    """A row of a dataset as curation sees it."""

    id: str
    video_id: str
    url: str
    """Of its shard."""
    place: tuple[int, int, int]
    """Shard, row group, row in it."""
    times_s: np.ndarray
    """(K,)"""
    looks: np.ndarray
    """(K, 96) float16"""
    end_s: float
    words: int
    """Of its texts."""
    jpeg_bytes: float
    """Mean size of its frames: sharper ones are larger."""
    shares: Shares


@dataclass(frozen=True)
class SeenVideo:
    """The rows of one video."""

    rows: tuple[SeenRow, ...]
    strip: Strip
    where: tuple[tuple[int, int], ...]
    """Of each frame of the strip: number of its row in `rows`, its number there."""


def seen_videos(dataset: Prepared, workers: int | None) -> list[SeenVideo]:
    """The videos of a dataset, in its order."""
    of: dict[str, list[SeenRow]] = {}
    total = dataset.manifest["rows"]
    jobs = [
        (url, shard, group) for shard, url in enumerate(dataset.shards) for group in _groups(url)
    ]
    with ExitStack() as open_ones:
        bar = open_ones.enter_context(tqdm(desc=f"look at {dataset.path}", unit="row", total=total))
        done: Iterable[list[SeenRow]] = map(_seen_rows, jobs)
        if total > FEW:
            count = workers or cpu_count()
            pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
            done = open_ones.enter_context(pool).map(_seen_rows, jobs, chunksize=4)
        for rows in done:
            for row in rows:
                of.setdefault(row.video_id, []).append(row)
            bar.update(len(rows))
    return [_video(rows) for rows in of.values()]


def _groups(url: str) -> range:
    with opened(url) as file:
        return range(pq.ParquetFile(file, pre_buffer=False).num_row_groups)


def _seen_rows(job: tuple[str, int, int]) -> list[SeenRow]:
    url, shard, group = job
    with opened(url) as file:
        table = read_columns(pq.ParquetFile(file, pre_buffer=False), COLUMNS, [group])
    return [_seen(row, url, (shard, group, i)) for i, row in enumerate(table.to_pylist())]


def _seen(row: dict[str, Any], url: str, place: tuple[int, int, int]) -> SeenRow:
    jpegs = [frame["bytes"] for frame in row["frames"]]
    pictures = [reduced(jpeg) for jpeg in jpegs]
    looks = np.stack([looks_of(one) for one in pictures]) if jpegs else np.zeros((0, NUM_LOOKS))
    times_s = np.asarray(row["times_s"], float)
    texts = [row["description"] or "", *(e["text"] for e in row["events"])]
    texts += [turn["answer"] for turn in row["turns"]]
    return SeenRow(
        id=str(row["id"]),
        video_id=str(row["video_id"]),
        url=url,
        place=place,
        times_s=times_s,
        looks=looks.astype(np.float16),
        end_s=float(row["end_s"]),
        words=sum(len(str(text).split()) for text in texts),
        jpeg_bytes=float(np.mean([len(jpeg) for jpeg in jpegs])) if jpegs else 0.0,
        shares=shares_of(row, jpegs, pictures, looks),
    )


def _video(rows: Sequence[SeenRow]) -> SeenVideo:
    """One video of its rows. Several rows of one window show the same frames: the first speaks for it."""
    every = list(_frames(rows))
    places = np.linspace(0, len(every) - 1, min(len(every), MOST_FRAMES)).astype(int)
    kept = sorted(set(places.tolist()))
    chosen = [every[i] for i in kept]
    times_s = np.array([time_s for time_s, _, _ in chosen])
    looks = np.array([rows[r].looks[k] for _, r, k in chosen]).reshape(-1, NUM_LOOKS)
    strip = Strip(times_s, looks, max(row.end_s for row in rows))
    return SeenVideo(tuple(rows), strip, tuple((r, k) for _, r, k in chosen))


def _frames(rows: Sequence[SeenRow]) -> Iterator[tuple[float, int, int]]:
    """Time, row and number of each frame, in time order."""
    seen = set[float]()
    for r, row in sorted(enumerate(rows), key=lambda one: (one[1].times_s[:1].tolist(), one[0])):
        for k, time_s in enumerate(row.times_s.tolist()):
            if time_s not in seen:
                seen.add(time_s)
                yield time_s, r, k


@lru_cache(maxsize=64)
def frames_of_group(url: str, group: int) -> list[list[bytes]]:
    """JPEGs of the rows of a row group."""
    with opened(url) as file:
        table = read_columns(pq.ParquetFile(file, pre_buffer=False), ["frames"], [group])
    return [[frame["bytes"] for frame in row] for row in table["frames"].to_pylist()]


def frames_of_row(row: SeenRow) -> list[bytes]:
    """Its JPEGs, read again."""
    return frames_of_group(row.url, row.place[1])[row.place[2]]


def jpeg_of(video: SeenVideo, number: int) -> bytes:
    """A frame of its strip."""
    row, frame = video.where[number]
    return frames_of_row(video.rows[row])[frame]
