"""Answers as they come, one JSON line each and a file per process, so that a stopped run continues."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.storage import write_atomically
from train.inference.answering import WindowAnswer
from train.inference.generate import Generation

DONE = "answers.jsonl"
"""Answers of earlier calls; those of this call are in `answers-RANK.jsonl`."""


@dataclass(frozen=True)
class Answered:
    """The answer to a row of a part."""

    part: int
    row: int
    text: str
    cut: bool
    looped: bool
    seen_s: tuple[float, ...]
    context_cut: bool
    error: str

    @classmethod
    def of(cls, part: int, row: int, answer: WindowAnswer) -> Answered:
        said = answer.said
        return cls(
            part,
            row,
            said.text,
            said.cut,
            said.looped,
            answer.seen_s,
            answer.context_cut,
            answer.error,
        )

    def to(self, row: dict[str, Any]) -> WindowAnswer:
        """As the answer to its row."""
        said = Generation(self.text, self.cut, self.looped)
        return WindowAnswer(row, said, self.seen_s, self.context_cut, self.error)


def gather(work: Path) -> None:
    """Put all answers of earlier calls, each once, into one file. A line that was cut by a kill is dropped."""
    files = [work / DONE, *sorted(work.glob("answers-*.jsonl"))]
    found = {
        (a.part, a.row): a for file in files if file.is_file() for a in _lines(file.read_bytes())
    }
    write_atomically(work / DONE, "".join(_line(answer) for answer in found.values()))
    for file in files[1:]:
        file.unlink()


def stored(work: Path) -> list[Answered]:
    """The answers of earlier calls, once they are gathered."""
    return list(_lines((work / DONE).read_bytes()))


def append(work: Path, rank: int, answers: Sequence[Answered]) -> None:
    """Store answers of this process, on the disk when this returns."""
    with (work / f"answers-{rank}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(map(_line, answers))
        file.flush()
        os.fsync(file.fileno())


class News:
    """What the processes have stored since it was last asked."""

    def __init__(self, work: Path):
        self._work = work
        self._read: dict[Path, int] = {}

    def read(self) -> Iterator[Answered]:
        """New answers of all processes."""
        for file in sorted(self._work.glob("answers-*.jsonl")):
            with file.open("rb") as lines:
                lines.seek(self._read.get(file, 0))
                new = lines.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[file] = self._read.get(file, 0) + len(whole)
            yield from _lines(whole)


def _line(answer: Answered) -> str:
    return json.dumps(asdict(answer)) + "\n"


def _lines(text: bytes) -> Iterator[Answered]:
    for line in text.split(b"\n")[:-1]:  # whole lines
        row = json.loads(line)
        yield Answered(**{**row, "seen_s": tuple(row["seen_s"])})
