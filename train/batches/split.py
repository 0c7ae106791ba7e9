"""Hold out videos for evaluation. The split is by video, so that no row of a held-out video is
trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from data.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Split:
    """Row numbers of a prepared dataset, in its order."""

    train: tuple[int, ...]
    held: tuple[int, ...]
    """All rows of the held-out videos."""
    held_ids: tuple[str, ...]
    """Ids of their samples."""
    videos: int
    """Number of held-out videos."""
    dropped: int = 0
    """Rows left out of both (`without`)."""


def without(parts: Split, rows: Dataset, dropped: Collection[str]) -> Split:
    """The split without the rows of these ids. What is held out stays held out.

    Raises:
        UserError: nothing would be left to train on.
    """
    if not dropped:
        return parts
    gone = {i for i, name in enumerate(rows["id"]) if name in dropped}
    train, held = (tuple(i for i in one if i not in gone) for one in (parts.train, parts.held))
    if not train:
        raise UserError(f"data.marks: all {len(parts.train)} rows to train on are marked drop")
    return replace(parts, train=train, held=held, dropped=len(gone))


def split(rows: Dataset, eval_share: float, eval_max: int) -> Split:
    """Hold out a share of the videos: at least one video, and beyond that at most `eval_max` rows.
    A hash of the video's id decides, so that they are always the same ones.

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
    ids, kept = rows["sample_id"], set(held)
    train = tuple(i for i in range(len(rows)) if i not in kept)
    return Split(train, tuple(held), tuple(dict.fromkeys(ids[i] for i in held)), videos)
