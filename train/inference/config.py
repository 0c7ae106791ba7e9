"""The keys of scripts/describe.py, merge.py and app.py."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from data.config import Section, by_commas
from data.selection.config import FrameKeys

Force = Annotated[
    bool,
    Field(description="use a model although its predictions differ from those when it was saved"),
]
AnswerLength = Annotated[
    int | None,
    Field(
        ge=1,
        description="maximum length of an answer, tokens (null: 512, or the longest training answer if longer)",
    ),
]

Compress = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="share of picture tokens left out: those most like the frame before (0: none)",
    ),
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


Format = Literal["text", "json", "srt", "vtt", "parquet", "html", "request"]
PRINTED: tuple[Format, ...] = ("text", "json", "srt", "vtt", "request")
WRITTEN: tuple[Format, ...] = ("text", "json", "srt", "vtt", "parquet", "html")


class DescribeConfig(Section):
    """Keys of scripts/describe.py; arguments without `=` are videos."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "videos",
        "out",
        "adapter",
        "model.name",
        "prompt",
        "format",
        "batch",
        "workers",
        "server",
        "max_new_tokens",
        "frames.policy",
        "frames.max",
        "model.dtype",
    )

    videos: tuple[str, ...] = Field(
        default=(),
        description="written without a key: video files, folders, patterns, lists (.txt, .jsonl)",
    )
    out: str | None = Field(
        default=None,
        description="folder for the descriptions of all videos; the same command continues (null: print them)",
    )
    adapter: str | None = Field(
        default=None,
        description="an adapter or a whole model: run folder, or name on the Hub (you/clips or you/clips@v2); "
        "null: an untrained checkpoint, model.name",
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
    speech_context: bool | None = Field(
        default=None,
        description="put subtitles beside a video (.srt, .vtt, .ass) or inside it before the instruction "
        "(null: if the run was trained with speech)",
    )
    box: Annotated[tuple[float, ...] | None, BeforeValidator(by_commas)] = Field(
        default=None,
        description="describe one subject only, of one video: the box it is in as fractions of the picture, "
        "left,top,right,bottom, on the first frame; or five numbers, the time in seconds first",
    )
    max_new_tokens: AnswerLength = None
    batch: int = Field(
        default=8, ge=1, description="videos, or windows of long ones, described at a time"
    )
    compress: Compress = 0.0
    format: Annotated[tuple[Format, ...], BeforeValidator(by_commas)] = Field(
        default=(),
        description="with out, some of text,json,srt,vtt,parquet,html (none given: all); printed, one of text, "
        "json (fields: train/README.md), srt, vtt, request (what to send to a server of the merged model)",
    )
    server: str | None = Field(
        default=None,
        description="address of an OpenAI-compatible server of the merged model, http://HOST:PORT/v1: it answers, "
        "and no weights are loaded here",
    )
    engine: Literal["local", "ray"] = Field(
        default="local", description="with out: what decodes, as for scripts/prepare.py"
    )
    address: str | None = Field(
        default=None, description="engine=ray: address of a cluster, as for scripts/prepare.py"
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="with out: processes that decode (null: as cores and memory allow)",
    )
    timeout_s: float = Field(
        default=600, gt=0, description="with out: time limit for choosing a video's frames"
    )
    memory_gib: float = Field(
        default=4, ge=1, le=1024, description="with out: memory limit of a decoding process"
    )
    overwrite: bool = Field(default=False, description="replace the descriptions in out")

    @model_validator(mode="after")
    def _formats_fit(self) -> Self:
        known, where = (PRINTED, "without out") if self.out is None else (WRITTEN, "with out")
        if bad := [one for one in self.format if one not in known]:
            raise ValueError(f"format={bad[0]}: {where}, give {', '.join(known)}")
        if self.box is not None:
            if len(self.box) not in (4, 5):
                raise ValueError(f"box: four numbers, or five with a time, got {len(self.box)}")
            if self.out is not None or "request" in self.format or len(self.videos) > 1:
                raise ValueError(
                    "box: of one video, described at once; leave out and format=request out"
                )
        if self.out is None and len(self.format) > 1:
            raise ValueError("format: only one can be printed; with out=FOLDER all are written")
        return self

    def idle(self) -> list[str]:
        """One line for each key that is set but has no effect."""
        lines = []
        if self.compress and (self.server is not None or "request" in self.format):
            lines.append(f"compress={self.compress:g}: only for a model that answers here")
        decoding = {"workers", "engine", "address", "timeout_s", "memory_gib", "overwrite"}
        if self.out is None:
            for key in sorted(decoding & self.model_fields_set):
                lines.append(f"{key}: only with out=FOLDER")
        elif self.address is not None and self.engine != "ray":
            lines.append(f"address={self.address}: used only with a Ray cluster; add engine=ray")
        return lines


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
    max_new_tokens: AnswerLength = None
    timeout_s: float = Field(
        default=120, gt=0, description="time limit for choosing the frames, and for each answer"
    )
    memory_gib: float = Field(default=4, ge=1, description="memory limit for decoding a file")
