"""What is dropped from a dataset, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.curation.config import CurateConfig
from data.curation.copies import best_of, groups_of_copies
from data.curation.spread import farthest_first
from data.curation.strips import SeenRow, SeenVideo
from data.errors import UserError

COPY, ELSEWHERE, ALIKE = "copy", "copy of a video elsewhere", "like others"
"""Reasons beside the names of the shares; `ALIKE`: not among the most different ones."""


@dataclass(frozen=True)
class Dropped:
    """A row that is dropped."""

    row: SeenRow
    reason: str
    detail: str
    twin: SeenRow | None = None
    """A row of the video that is kept instead, or is elsewhere."""


@dataclass(frozen=True)
class Decision:
    """About all rows of a dataset."""

    dropped: tuple[Dropped, ...]
    """In the order of the dataset."""
    groups: Mapping[str, str]
    """`video_id` → that of its group, where they differ (copies=group)."""


def decide(
    config: CurateConfig,
    videos: Sequence[SeenVideo],
    elsewhere: Sequence[SeenVideo],
    marked: Collection[str],
) -> Decision:
    """
    Args:
        elsewhere: the videos of `against`.
        marked: ids of the rows that a person has marked to be dropped.

    Raises:
        UserError: nothing would be left.
    """
    dropped = [
        one
        for video in videos
        for row in video.rows
        if (one := _marked(row, marked) or _dull(config, row))
    ]
    gone = {id(one.row) for one in dropped}
    left = [v for v in videos if any(id(row) not in gone for row in v.rows)]
    groups: dict[str, str] = {}
    if config.copies != "keep":
        every = [*left, *elsewhere]
        for members in groups_of_copies(every):
            own = [every[i] for i in members if i < len(left)]
            others = [every[i] for i in members if i >= len(left)]
            if others:
                dropped += _all(
                    own,
                    gone,
                    ELSEWHERE,
                    f"of {others[0].rows[0].id} in {config.against}",
                    others[0],
                )
                continue
            best = own[best_of(own)]
            if config.copies == "group":
                groups |= {v.rows[0].video_id: best.rows[0].video_id for v in own if v is not best}
            else:
                rest = [video for video in own if video is not best]
                dropped += _all(rest, gone, COPY, f"of {best.rows[0].id}", best)
        gone = {id(one.row) for one in dropped}
        left = [v for v in left if any(id(row) not in gone for row in v.rows)]
    if config.subset is not None and config.subset < len(left):
        middles = np.stack([video.strip.looks.astype(np.float32).mean(axis=0) for video in left])
        kept = set(farthest_first(middles, config.subset))
        rest = [video for i, video in enumerate(left) if i not in kept]
        dropped += _all(
            rest, gone, ALIKE, f"not among the {config.subset} most different videos", None
        )
        left = [video for i, video in enumerate(left) if i in kept]
    if not left:
        raise UserError(
            f"data.path={config.data.path}: nothing would be left of {len(videos)} videos"
        )
    return Decision(tuple(sorted(dropped, key=lambda one: one.row.place)), groups)


def _marked(row: SeenRow, marked: Collection[str]) -> Dropped | None:
    return Dropped(row, "marked", "in the file of marks") if row.id in marked else None


def _dull(config: CurateConfig, row: SeenRow) -> Dropped | None:
    for name, share, most in (
        ("black", row.shares.black, config.black),
        ("still", row.shares.still, config.still),
        ("slides", row.shares.slides, config.slides),
    ):
        if most is not None and share >= most:
            return Dropped(row, name, f"{share:.0%} of its frames, limit {name}={most:g}")
    return None


def _all(
    videos: Sequence[SeenVideo], gone: set[int], reason: str, detail: str, twin: SeenVideo | None
) -> list[Dropped]:
    """The rows of these videos that are not dropped yet."""
    other = twin.rows[0] if twin else None
    rows = [row for video in videos for row in video.rows if id(row) not in gone]
    return [Dropped(row, reason, detail, other) for row in rows]
