"""The keys of scripts/describe.py, merge.py and app.py."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from data.config import Section
from data.selection.config import FrameKeys

Force = Annotated[
    bool,
    Field(description="use a model although its predictions differ from those when it was saved"),
]


class OtherBase(Section):
    """The base model, if not the one that the run was trained on."""

    name: str | None = Field(
        default=None, description="base model (null: the one in the run's record)"
    )


class BaseKeys(OtherBase):
    """The base model, and the precision of its weights."""

    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision: bf16 where native, fp16 on a T4, fp32 on CPU"
    )


class DescribeConfig(Section):
    """Keys of scripts/describe.py; arguments without `=` are videos."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "videos",
        "adapter",
        "prompt",
        "format",
        "max_new_tokens",
        "frames.policy",
        "frames.max",
        "model.name",
        "model.dtype",
    )

    videos: tuple[str, ...] = Field(
        default=(), description="paths of video files, written without a key"
    )
    adapter: str = Field(
        description="an adapter or a whole model: run folder, or name on the Hub (you/clips or you/clips@v2)"
    )
    model: BaseKeys = BaseKeys()
    frames: FrameKeys = Field(
        default=FrameKeys(), description="frame policy: keys given here replace those of the run"
    )
    force: Force = False
    prompt: str | None = Field(
        default=None, description="instruction to the model (null: the run's own)"
    )
    context: str = Field(
        default="",
        description="text before the instruction, such as timed speech if the run was trained with it",
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        description="maximum length of an answer, tokens (null: 512, or the longest training answer if longer)",
    )
    batch: int = Field(
        default=4, ge=1, description="windows of a long video that are described at a time"
    )
    format: Literal["text", "json", "request"] = Field(
        default="text",
        description="text; json: one object per video (fields: train/README.md); request: no answer, but the request to send to "
        "a server of the merged model",
    )


class MergeConfig(Section):
    """Keys of scripts/merge.py."""

    adapter: str = Field(description="run folder, or the name of an adapter on the Hub")
    out: str = Field(description="new folder for the merged model")
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
    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; 0.0.0.0: reachable from other machines",
    )
    port: int = Field(default=7860, ge=1, le=65535, description="port of the page")
    share: bool = Field(
        default=False, description="also serve at a public address, through Gradio's service"
    )
    max_mb: int = Field(default=200, ge=1, description="largest upload, MB")
    max_queue: int = Field(default=16, ge=1, description="maximum number of waiting requests")
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        description="maximum length of an answer, tokens (null: 512, or the longest training answer if longer)",
    )
    timeout_s: float = Field(
        default=120, gt=0, description="time limit for choosing the frames, and for each answer"
    )
    memory_gib: float = Field(default=4, ge=1, description="memory limit for decoding a file")
