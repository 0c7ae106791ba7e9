"""The keys of scripts/curate.py."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.config import Section
from data.prepared.config import PreparedKeys


class CurateConfig(Section):
    """Keys of scripts/curate.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "data.path", "out", "copies", "against", "black", "still", "slides", "marks", "subset", "overwrite",
    )  # fmt: skip
    data: PreparedKeys
    out: str = Field(description="folder of the curated dataset")
    copies: Literal["drop", "group", "keep"] = Field(
        default="drop",
        description="of a video that is there several times (re-encoded, rescaled, cropped, mirrored, "
        "cut, faster): drop all but one, or keep all in one group, never on both sides of a split, or "
        "do not look",
    )
    against: str | None = Field(
        default=None,
        description="another prepared dataset: videos that are there too are dropped",
    )
    black: float | None = Field(
        default=0.9, gt=0, le=1, description="drop from this share of black frames on (null: none)"
    )
    still: float | None = Field(
        default=1.0,
        gt=0,
        le=1,
        description="drop from this share of frames on that show what was shown a second before (null: none)",
    )
    slides: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="drop from this share of frames on that are text on one colour (null: none)",
    )
    marks: str | None = Field(
        default=None, description="marks.jsonl of an audit's page: rows marked drop are dropped"
    )
    subset: int | None = Field(
        default=None, ge=1, description="keep only so many videos, those most unlike each other"
    )
    workers: int | None = Field(
        default=None, ge=1, description="processes that look at frames (null: one a core)"
    )
    shown: int = Field(default=60, ge=0, description="dropped videos on the page dropped.html")
    overwrite: bool = Field(default=False, description="replace the dataset in out")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.against is not None and self.copies == "keep":
            raise ValueError("against: looks for copies; leave out copies=keep")
        if self.out == self.data.path:
            raise ValueError(f"out={self.out}: is the dataset itself; choose another folder")
        return self
