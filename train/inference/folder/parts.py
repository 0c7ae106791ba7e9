"""Stage one: the frames of the videos that are to be described, by `prepare` with the run's frame policy.

A part is a list of videos and its prepared dataset. A later call with more videos, or changed ones, prepares
only these, as a further part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.shards import quarantined
from data.sample import Rejected
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from data.sources.files import Listed
from data.sources.parse import without_surrogates
from data.storage import open_folder, write_atomically
from data.window import rows_of_samples
from train.batches.stream import Groups, Pictures, read_texts
from train.inference.config import DescribeConfig
from train.inference.rows import uses_subtitles
from train.run.saved import SavedRun

COLUMNS = (
    "id",
    "sample_id",
    "times_s",
    "duration_s",
    "start_s",
    "end_s",
    "prompt",
    "system",
    "context",
    "ranks",
)
WANTED = "wanted.json"
KEEP = 4
"""Row groups whose frames stay in memory: rows of a batch may come from several."""
SHARD_ROWS = 64
"""Videos a shard of the prepared frames: a stopped run loses less than that."""


@dataclass(frozen=True)
class Part:
    """A list of videos, some of which are asked for now."""

    number: int
    folder: Path
    """Of the prepared dataset; its list is beside it."""
    wanted: tuple[Listed, ...]


@dataclass(frozen=True)
class Frames:
    """A part's rows, read as they are needed."""

    part: Part
    videos: dict[str, Listed] = field(repr=False)
    """The wanted videos by id."""
    rows: Dataset = field(repr=False)
    """Without frames, in memory."""
    pictures: Pictures = field(repr=False)
    of_video: dict[str, list[int]] = field(repr=False)
    """Id of a wanted video → its rows."""
    bad: dict[str, Rejected] = field(repr=False)
    """Id of a wanted video that cannot be used → why."""

    def row(self, place: int) -> dict[str, Any]:
        """A row with its frames."""
        frames = [{"bytes": jpeg} for jpeg in self.pictures.of(place)]
        return {**self.rows[place], "frames": frames}


def parts_of(work: Path, videos: Sequence[Listed]) -> list[Part]:
    """The parts that hold the videos. What no earlier part lists in its present state becomes a new one."""
    new = {_state(one): one for one in videos}
    lists = sorted(work.glob("list-*.jsonl"), key=_number)
    parts = []
    for file in reversed(lists):  # of a file that has changed, the latest state
        stored = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        wanted = [new.pop(key) for row in stored if (key := tuple(row["state"])) in new]
        parts.append(_part(work, _number(file), wanted))
    if new:
        number = 1 + max(map(_number, lists), default=-1)
        rows = ({"id": one.id, **_texts(one), "state": key} for key, one in new.items())
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(work / f"list-{number}.jsonl", text)
        parts.append(_part(work, number, list(new.values())))
    return sorted((part for part in parts if part.wanted), key=lambda part: part.number)


def _part(work: Path, number: int, wanted: Iterable[Listed]) -> Part:
    return Part(number, work / f"prepared-{number}", tuple(wanted))


def _number(file: Path) -> int:
    return int(file.stem.removeprefix("list-"))


def _texts(one: Listed) -> dict[str, str]:
    """The fields of a list's row; the path is absolute, since the list may lie elsewhere."""
    texts = asdict(one)
    return {"video": str(Path(texts.pop("path")).absolute()), **texts}


def _state(one: Listed) -> tuple[Any, ...]:
    """What changes when the file or what is asked of it changes. Size and time are None of a missing file."""
    texts = tuple(_texts(one).values())
    try:
        there = Path(one.path).stat()
    except (OSError, ValueError):
        return (*texts, None, None)
    return (*texts, there.st_size, there.st_mtime_ns)


def prepare_part(part: Part, config: DescribeConfig, run: SavedRun, frames: FrameKeys) -> None:
    """Choose the frames of a part's videos; continues a stopped run, and leaves a finished one as it is.

    Raises:
        UserError: as `data.offline.prepare.prepare`.
    """
    if is_finished(part.folder):  # though its list has another path: the folder was moved
        return
    listed = part.folder.parent / f"list-{part.number}.jsonl"
    prepare(
        PrepareConfig(
            source=SourceKeys(
                name="files",
                path=str(listed.absolute()),
                speech_context=uses_subtitles(config.speech_context, run),
            ),
            frames=frames,
            out=str(part.folder),
            min_decoded=run.policy.min_decoded,
            shard_rows=SHARD_ROWS,
            engine=config.engine,
            address=config.address,
            workers=config.workers,
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
        )
    )


def is_finished(folder: Path) -> bool:
    """Whether the frames of all videos of a part are chosen."""
    try:
        return bool(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError):
        return False


def write_wanted(work: Path, parts: Sequence[Part]) -> None:
    """Store which videos of which parts are asked for, for the other processes."""
    wanted = [[part.number, [asdict(one) for one in part.wanted]] for part in parts]
    write_atomically(work / WANTED, json.dumps(wanted))


def read_wanted(work: Path) -> list[Part]:
    """What the first process stored: files may have changed since."""
    wanted = json.loads((work / WANTED).read_text(encoding="utf-8"))
    return [_part(work, number, [Listed(**one) for one in videos]) for number, videos in wanted]


def open_part(part: Part) -> Frames:
    """The rows of a prepared part."""
    prepared = Prepared.open(part.folder)
    folder = open_folder(part.folder)
    every = [r for i in range(prepared.manifest["shards"]) for r in quarantined(folder, i)]
    names = {one.id: one for one in part.wanted}
    bad = {r.id: _shown(r, names[r.id]) for r in every if r.id in names}
    if not prepared.manifest["rows"]:
        return Frames(part, names, Dataset.from_dict({}), Pictures(Groups((), ()), KEEP), {}, bad)
    rows, groups = read_texts(prepared, COLUMNS)
    places = rows_of_samples(rows["sample_id"])
    of_video = {name: places[name] for name in names if name in places}
    return Frames(part, names, rows, Pictures(groups, KEEP), of_video, bad)


def _shown(rejected: Rejected, video: Listed) -> Rejected:
    """With the video's path as the user wrote it."""
    absolute, shown = map(without_surrogates, (str(Path(video.path).absolute()), video.path))
    return replace(rejected, detail=rejected.detail.replace(absolute, shown))
