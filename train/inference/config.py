"""The keys of scripts/describe.py, merge.py and app.py."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from data.config import Section
from data.selection.config import FrameKeys

Force = Annotated[
    bool, Field(description="use a model that does not say what it said when it was saved")
]


class OtherBase(Section):
    """The base model, where it is not the run's own."""

    name: str | None = Field(default=None, description="another base than the run's record says")


class BaseKeys(OtherBase):
    """The same, and how it is held."""

    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision: bf16 where native, fp16 on a T4, fp32 on CPU"
    )


class DescribeConfig(Section):
    """Keys of scripts/describe.py; arguments without `=` are videos."""

    videos: tuple[str, ...] = Field(default=(), description="video files; just write their paths")
    adapter: str = Field(
        description="run folder or name on the Hub, as you/clips or you/clips@v2: an adapter, or a whole model"
    )
    model: BaseKeys = BaseKeys()
    frames: FrameKeys = Field(
        default=FrameKeys(), description="given keys replace those of the run's own frame policy"
    )
    force: Force = False
    prompt: str | None = Field(default=None, description="another instruction than the run's own")
    context: str = Field(
        default="", description="text before the instruction, as speech with times in training"
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        description="longest answer (null: 512, or as the longest that the run learned from)",
    )
    format: Literal["text", "json", "request"] = Field(
        default="text",
        description="json: one object a video (its fields: README); request: instead of an answer, what a server "
        "of the merged model is sent",
    )


class MergeConfig(Section):
    """Keys of scripts/merge.py."""

    adapter: str = Field(description="run folder, or the name of an adapter on the Hub")
    out: str = Field(description="folder for the whole model; a new one")
    model: OtherBase = OtherBase()
    force: Force = False
    dtype: Literal["bf16", "fp16", "fp32"] = Field(
        default="bf16", description="precision of the saved weights; merging itself is in fp32"
    )


class AppConfig(Section):
    """Keys of scripts/app.py."""

    RENAMED: ClassVar = {"waiting": "max_queue"}

    adapter: str = Field(description="run folder, or the name of an adapter or model on the Hub")
    model: BaseKeys = BaseKeys()
    force: Force = False
    base: bool = Field(default=True, description="let visitors compare with the base model")
    host: str = Field(default="127.0.0.1", description="0.0.0.0 lets other machines in")
    port: int = Field(default=7860, ge=1, le=65535, description="of the page")
    share: bool = Field(default=False, description="a public address by Gradio's own service")
    max_mb: int = Field(default=200, ge=1, description="largest file taken")
    max_queue: int = Field(default=16, ge=1, description="visitors that may wait in line")
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        description="longest answer (null: 512, or as the longest that the run learned from)",
    )
    timeout_s: float = Field(default=120, gt=0, description="for the frames, and for each answer")
    memory_gib: float = Field(default=4, ge=1, description="that decoding a file may take")
