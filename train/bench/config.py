"""The keys of the trainer's benches; those that train models are in `config_trained`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig
from data.config import by_commas
from train.memory.config import Gpu, Size
from train.sections import Method


class BenchPlanConfig(BenchConfig):
    """Keys of scripts/bench_plan.py."""

    models: Annotated[tuple[Size, ...], BeforeValidator(by_commas)] = Field(
        default=("256M", "500M"), description="model shapes, with random weights"
    )
    methods: Annotated[tuple[Method | Literal["connector"], ...], BeforeValidator(by_commas)] = (
        Field(
            default=("full", "lora", "qlora", "connector"),
            description="training methods; connector: it alone trains, as in recipes/stages",
        )
    )
    frames: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 8), description="frames per video"
    )
    tokens: int | None = Field(
        default=None, ge=1, description="tokens a frame (null: the model's own)"
    )
    checkpointing: bool = Field(default=True, description="gradient checkpointing")


class BenchStepConfig(BenchConfig):
    """Keys of scripts/bench_step.py."""

    model: Size = Field(default="256M", description="model shape, with random weights")
    frames: int = Field(
        default=4,
        ge=2,
        description="frames per video; in a batch of three, also half and a quarter of it",
    )
    answer_tokens: int = Field(default=100, ge=2, description="tokens of an answer")
    steps: int = Field(
        default=2, ge=0, description="timed steps, after one warm-up step; 0: only count FLOPs"
    )
    unequal: bool = Field(default=True, description="also a batch of three, padded and packed")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision, as model.dtype"
    )


class BenchBusyConfig(BenchConfig):
    """Keys of scripts/bench_busy.py."""

    steps: int = Field(default=40, ge=1, description="steps of the timed training")
    repeats: int = Field(default=1, ge=1, description="runs of each command; the median is taken")


class BenchLoaderConfig(BenchConfig):
    """Keys of scripts/bench_loader.py."""

    path: str | None = Field(
        default=None, description="prepared dataset (null: micro-world videos, rendered for this)"
    )
    model: Size = Field(default="2.2B", description="model shape: frame size and training step")
    frames: int = Field(default=16, ge=1, description="frames per video (with path=null)")
    videos: int = Field(default=48, ge=4, description="number of videos (with path=null)")
    workers: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), description="numbers of loader processes to compare"
    )
    gpu: Gpu = Field(default="16", description="card whose speed is assumed for the training step")


class BenchGpuConfig(BenchConfig):
    """Keys of scripts/bench_gpu.py."""

    models: Annotated[tuple[Size, ...], BeforeValidator(by_commas)] = Field(
        default=("500M", "2.2B", "256M"),
        description="model shapes, with random weights; measured in this order",
    )
    methods: Annotated[tuple[Method, ...], BeforeValidator(by_commas)] = Field(
        default=("qlora", "lora", "full"), description="training methods"
    )
    frames: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(16, 32, 64), description="frames per video"
    )
    caps: Annotated[tuple[float, ...], BeforeValidator(by_commas)] = Field(
        default=(14.6, 16.0), description="memory caps of the process, GiB, as on smaller cards"
    )
    minutes: float = Field(
        default=8.5, gt=0, description="time limit; cases not begun by then are skipped"
    )


class BenchDescribeConfig(BenchConfig):
    """Keys of scripts/bench_describe.py."""

    models: Annotated[tuple[Size | Literal["tiny"], ...], BeforeValidator(by_commas)] = Field(
        default=("tiny", "256M"), description="model shapes, with random weights"
    )
    videos: int = Field(default=16, ge=2, description="videos to describe")
    frames: int = Field(default=4, ge=2, description="frames of a video; others have down to half")
    new_tokens: int = Field(default=24, ge=1, description="tokens of an answer")
    batch: int = Field(default=8, ge=1, description="videos at a time, of ours")
    repeats: int = Field(default=3, ge=1, description="times in turn; the median is taken")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision, as model.dtype"
    )
    memory: tuple[int, ...] = Field(
        default=(100, 10_000), description="numbers of clips whose peak memory is measured"
    )
