"""Many videos → a folder of descriptions, in two stages: frames, then answers in batches.

Both are stored as they are done, so the same command continues after a kill, and ends with the same bytes.
Several processes (`accelerate launch`) share the answers; the first prepares the frames and writes the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from tqdm import tqdm

from data.errors import UserError
from data.locks import locked
from data.selection.config import FrameKeys
from data.sources.files import Listed
from train.console import say
from train.inference.config import WRITTEN, DescribeConfig
from train.inference.describe import asking, bad_record, note_own_words, record_of
from train.inference.folder.claim import claim, identity, write_about
from train.inference.folder.files import (
    JSONL,
    PAGE,
    WORK,
    Descriptions,
    records,
)
from train.inference.folder.log import Answered, News, append, gather, stored
from train.inference.folder.page import write_page
from train.inference.folder.parts import (
    Frames,
    open_part,
    parts_of,
    prepare_part,
    read_wanted,
    write_wanted,
)
from train.inference.rows import frames_for
from train.run.saved import SavedRun

AHEAD = 8
"""Batches among whose rows those of like length are put together."""
WAIT = timedelta(days=30)
"""How long the other processes wait for the first, which chooses the frames of all videos."""


@dataclass(frozen=True)
class Process:
    """This process among those of a launcher."""

    rank: int = 0
    count: int = 1

    @classmethod
    def of_launcher(cls) -> Process:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
        return cls(state.process_index, state.num_processes)

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            PartialState().wait_for_everyone()

    def part(self) -> None:
        """Wait until all processes are done, and end their group."""
        self.meet()
        if self.count > 1:
            PartialState().destroy_process_group()


@dataclass
class Videos:
    """Answers put together to videos: each is written when its last window is there."""

    run: SavedRun
    keys: FrameKeys
    parts: Mapping[int, Frames]
    written: Descriptions
    _said: dict[tuple[int, str], dict[int, Answered]] = field(default_factory=dict)

    def add(self, answer: Answered) -> bool:
        """Take an answer; returns whether its video is asked for now."""
        frames = self.parts.get(answer.part)
        if frames is None:
            return False
        name = frames.rows[answer.row]["sample_id"]
        places = frames.of_video.get(name)
        if places is None:
            return False
        said = self._said.setdefault((answer.part, name), {})
        said[answer.row] = answer
        if len(said) < len(places):
            return True
        del self._said[answer.part, name]
        windows = [said[p].to(frames.rows[p]) for p in places]
        record = record_of(frames.videos[name], windows, self.run, self.keys)
        windows_of = (frames.row(p) for p in places)
        self.written.add(record, windows_of, answer.part)
        return True


def describe_folder(
    config: DescribeConfig, run: SavedRun, videos: Sequence[Listed]
) -> tuple[int, int]:
    """Describe the videos into `config.out`; returns how many there are, and how many could not be.

    Raises:
        UserError: `out` holds something else, or the model cannot be used.
    """
    assert config.out is not None
    out, process = Path(config.out), Process.of_launcher()
    work = out / WORK
    keys = frames_for(run, config.frames)
    if process.rank > 0:
        process.meet()
        parts = [open_part(part) for part in read_wanted(work)]
        todo = _todo(parts, config.batch, stored(work))
        for answers in _answers(config, run, todo[process.rank :: process.count]):
            append(work, process.rank, answers)
        process.part()
        return 0, 0
    with locked(out, str(out)):
        note_own_words(config, run)
        about = identity(config, run, keys)
        claim(out, about, overwrite=config.overwrite)
        made = parts_of(work, videos)
        for part in made:
            prepare_part(part, config, run, keys)
        write_wanted(work, made)
        gather(work)
        process.meet()
        parts = [open_part(part) for part in made]
        counts = _first(config, run, keys, parts, process, videos)
        write_about(out, about, finished=True)
        return counts


def _first(
    config: DescribeConfig,
    run: SavedRun,
    keys: FrameKeys,
    parts: Sequence[Frames],
    process: Process,
    videos: Sequence[Listed],
) -> tuple[int, int]:
    """The work of the first process: its share of the answers, and all files."""
    out = Path(str(config.out))
    work = out / WORK
    formats = config.format or WRITTEN
    written = Descriptions(out, videos, formats)
    by_number = {frames.part.number: frames for frames in parts}
    together = Videos(run, keys, by_number, written)
    for frames in parts:
        for one in frames.part.wanted:
            if one.id in frames.bad:
                rejected = frames.bad[one.id]
                written.add(bad_record(one, rejected.detail, rejected.reason))
    total = sum(len(places) for frames in parts for places in frames.of_video.values())
    with tqdm(desc="describe", unit="window", total=total) as bar:
        known = stored(work)
        todo = _todo(parts, config.batch, known)
        again = {(frames.part.number, place) for frames, batch in todo for place in batch}
        for answer in known:
            if (answer.part, answer.row) not in again:
                bar.update(together.add(answer))
        news = News(work)
        for answers in _answers(config, run, todo[:: process.count]):
            append(work, 0, answers)
            for answer in news.read():
                bar.update(together.add(answer))
        process.part()
        for answer in news.read():
            bar.update(together.add(answer))
    if missing := written.missing():
        raise UserError(
            f"{out}: {len(missing)} videos without an answer ({missing[0]}); the same command continues"
        )
    written.finish()
    if "html" in formats:
        write_page(out / PAGE, records(out), written.names, written.sheets)
    if "json" not in formats:
        (out / JSONL).unlink()
    lines = [f"{len(videos) - written.bad} of {len(videos)} videos described in {out}"]
    lines += [f"{count} {what}" for what, count in written.marked.items()]
    say("\n  ".join(lines))
    return len(videos), written.bad


Batch = tuple[Frames, list[int]]
"""Rows of a part that are answered together."""


def _todo(parts: Sequence[Frames], size: int, known: Sequence[Answered]) -> list[Batch]:
    """The batches in which an answer is missing. They are answered whole, for the other prompts of a batch may
    change the last bits of a result."""
    done = {(a.part, a.row) for a in known}
    return [
        (frames, batch)
        for frames in parts
        for batch in _batches(frames, size)
        if any((frames.part.number, place) not in done for place in batch)
    ]


def _answers(
    config: DescribeConfig, run: SavedRun, batches: Sequence[Batch]
) -> Iterator[list[Answered]]:
    """The answers to the batches, one batch at a time."""
    ask = asking(config, run)

    def rows() -> Iterator[dict[str, Any]]:
        for frames, batch in batches:
            for place in batch:
                row = frames.row(place)
                row["prompt"] = row["prompt"] or config.prompt or ""
                row["context"] = row["context"] or config.context
                yield row

    said = ask(rows())
    for frames, batch in batches:
        yield [Answered.of(frames.part.number, place, next(said)) for place in batch]


def _batches(frames: Frames, size: int) -> Iterator[list[int]]:
    """A part's rows in batches, rows with about as many frames together: what is padded is small."""
    places = sorted(place for of_video in frames.of_video.values() for place in of_video)
    lengths = {place: len(frames.rows[place]["times_s"]) for place in places}
    for start in range(0, len(places), AHEAD * size):
        near = sorted(places[start : start + AHEAD * size], key=lambda place: -lengths[place])
        yield from (near[i : i + size] for i in range(0, len(near), size))
