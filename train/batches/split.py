"""Which videos a run is measured on and never learns from: decided by video, so that no other row of
one is trained on, and written down, so that whoever evaluates the run need not decide it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.config import UserError
from data.storage import write_atomically
from train.run.files import HELD_OUT

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Split:
    """Rows of a prepared dataset, in its order."""

    train: tuple[int, ...]
    held: tuple[int, ...]
    """With all rows of their videos."""
    held_ids: tuple[str, ...]
    videos: int
    """Of the held-out rows."""


def split(rows: Dataset, eval_share: float, eval_max: int) -> Split:
    """Hold out a share of the videos, at most `eval_max` rows (but one video): always the same ones,
    by hash of the video's id.

    Raises:
        UserError: nothing would be left to train on.
    """
    if eval_share == 0:
        return Split(tuple(range(len(rows))), (), (), 0)
    of_video: dict[str, list[int]] = {}
    for i, name in enumerate(rows["video_id"]):
        of_video.setdefault(name, []).append(i)
    order = sorted(of_video, key=lambda v: hashlib.sha256(v.encode("utf-8", "replace")).digest())
    held: list[int] = []
    videos = 0
    for name in order[: round(len(order) * eval_share) or 1]:
        if videos and len(held) + len(of_video[name]) > eval_max:
            break
        held += of_video[name]
        videos += 1
    if videos == len(order):
        raise UserError(
            f"data.eval_share={eval_share}: leaves nothing to train on in {len(order)} videos"
        )
    held.sort()
    ids, kept = rows["id"], set(held)
    train = tuple(i for i in range(len(rows)) if i not in kept)
    return Split(train, tuple(held), tuple(ids[i] for i in held), videos)


def write_held_out(
    ids: Sequence[str], folder: Path, *, before: Sequence[str] | None = None
) -> None:
    """A row id a line. `before`: what the parts of a resumed run held out; only what all of them did
    was never learned from."""
    known = set(ids if before is None else before)
    left = [name for name in ids if name in known]
    write_atomically(folder / HELD_OUT, "".join(f"{_line(name)}\n" for name in left))


def read_held_out(folder: Path) -> tuple[str, ...] | None:
    """None where the run kept no such list, as one from the Hub.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / HELD_OUT
    if not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        return tuple(json.loads(line) if line.startswith('"') else line for line in lines)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None


def _line(name: str) -> str:
    """As it is, or as JSON where that would be no line or look like JSON."""
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)
