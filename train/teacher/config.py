"""The keys of scripts/caption.py."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from data.config import Section
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from train.cost import CostKeys

SOURCES = ("files", "microworld")
WINDOWS = {"window_s": 30.0, "max": 12}
"""Frames that a server's teacher is shown of each part of a video."""


class TeacherKeys(CostKeys):
    """A larger model that tells what happens, behind any OpenAI-compatible address that takes pictures. The key, if the
    server wants one, comes from the environment (OPENAI_API_KEY)."""

    model: str | None = Field(
        default=None, description="its name at the server (null: a run, by adapter)"
    )
    hint: str = Field(
        default="", description="what all videos are, told with each question: 'cooking lessons'"
    )
    group: int = Field(
        default=6, ge=2, description="texts that are merged into one, level by level"
    )
    workers: int = Field(default=8, ge=1, description="videos told at a time")
    max_tokens: int = Field(default=1024, ge=16, description="longest answer, in tokens")
    timeout_s: float = Field(default=300, gt=0, description="time limit for one answer")


class CaptionConfig(Section):
    """Keys of scripts/caption.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "source.path", "out", "teacher.model", "teacher.base_url", "teacher.hint", "adapter", "frames.max", "frames.window_s",
        "teacher.price_in", "teacher.price_out", "workers", "overwrite",
    )  # fmt: skip

    source: SourceKeys = Field(
        default=SourceKeys(), description="the videos: source.path is a file, a folder or a list"
    )
    frames: FrameKeys = Field(
        default=FrameKeys(),
        description="frame policy; of a server's teacher 12 frames for each window of at most 30 s, of a run its own",
    )
    teacher: TeacherKeys = TeacherKeys()
    adapter: str | None = Field(
        default=None, description="a run of ours as the teacher, without a server"
    )
    out: str = Field(description="folder of captions.jsonl and of what is kept to go on from")
    workers: int | None = Field(
        default=None, ge=1, description="processes that decode (null: as cores and memory allow)"
    )
    overwrite: bool = Field(
        default=False, description="replace captions of other videos, or by another teacher, in out"
    )

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        own = {} if values.get("adapter") is not None else WINDOWS
        return {
            **values,
            "source": {"name": "files", **values.get("source", {})},
            "frames": {**own, **values.get("frames", {})},
        }

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if (self.teacher.model is None) == (self.adapter is None):
            raise ValueError(
                "who is the teacher? give teacher.model (and teacher.base_url), or adapter=RUN"
            )
        if self.source.name not in SOURCES:
            raise ValueError(
                f"source={self.source.name}: captions are for files; give source=files source.path=FOLDER or a list "
                "(.txt, or .jsonl with a `video` in each line)"
            )
        return self

    def idle(self) -> list[str]:
        given = self.teacher.changed() if self.adapter is not None else {}
        return [
            *self.source.idle(),
            *self.frames.idle(),
            *(f"teacher.{key}: the teacher is adapter={self.adapter}" for key in given),
        ]
