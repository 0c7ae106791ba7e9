"""The keys of the trainer's benches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig
from data.config import Names, by_commas
from train.memory.config import Gpu, Size
from train.sections import Method


class BenchPlanConfig(BenchConfig):
    """Keys of scripts/bench_plan.py."""

    models: Annotated[tuple[Size, ...], BeforeValidator(by_commas)] = Field(
        default=("256M", "500M"), description="model shapes, with random weights"
    )
    methods: Annotated[tuple[Method, ...], BeforeValidator(by_commas)] = Field(
        default=("full", "lora", "qlora"), description="training methods"
    )
    frames: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 8), description="frames per video"
    )
    tokens: int | None = Field(
        default=None, ge=1, description="tokens a frame (null: the model's own)"
    )


TokensPart = Literal["fits", "alike", "verbs", "questions", "compress", "tiles"]


class BenchTokensConfig(BenchConfig):
    """Keys of scripts/bench_tokens.py."""

    parts: Annotated[tuple[TokensPart, ...], BeforeValidator(by_commas)] = Field(
        default=("fits",), description="what to measure"
    )
    models: Annotated[tuple[Size, ...], BeforeValidator(by_commas)] = Field(
        default=("500M", "2.2B"), description="model shapes"
    )
    frames: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(32, 64, 128, 256), description="fits: frames a video"
    )
    clips: str | None = Field(default=None, description="alike: folder of real clips (clips.jsonl)")
    work: str = Field(default="prepared/tokens", description="where videos and runs are kept")
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), min_length=1, description="a model of each setting each"
    )
    videos: int = Field(
        default=2000, ge=40, description="videos of the micro-world, a tenth of them held out"
    )
    steps: int = Field(default=600, ge=1, description="training steps of a model")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    workers: int = Field(default=2, ge=1, description="models trained at a time")


class BenchStepConfig(BenchConfig):
    """Keys of scripts/bench_step.py."""

    model: Size = Field(default="256M", description="model shape, with random weights")
    frames: int = Field(
        default=4,
        ge=2,
        description="frames per video; in a batch of three, also half and a quarter of it",
    )
    answer_tokens: int = Field(default=100, ge=2, description="tokens of an answer")
    steps: int = Field(default=2, ge=1, description="timed steps, after one warm-up step")
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


class PoliciesConfig(BenchConfig):
    """Keys of scripts/bench_policies.py."""

    policies: Names = Field(
        default=("scene", "uniform", "smolvlm"), description="frame policies: a,b"
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), description="seeds of weights and data order: 0,1"
    )
    selector: str | None = Field(default=None, description="for the policy learned")
    busy: bool = Field(default=False, description="scenes of no event between those that are told")
    videos: int = Field(default=4000, ge=60, description="micro-world videos, 5 % of them held out")
    held_out: int = Field(
        default=200, ge=1, description="maximum number of held-out videos to describe"
    )
    frames: int = Field(
        default=6, ge=1, le=32, description="maximum frames per video, for every policy"
    )
    steps: int = Field(default=1000, ge=1, description="training steps, for every policy")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    mixed: bool = Field(default=True, description="also describe with the other policies' frames")
    workers: int = Field(default=2, ge=1, description="models trained at a time, one core each")
    work: str = Field(
        default="prepared/policies", description="folder of datasets, runs and scores"
    )


class MethodsConfig(BenchConfig):
    """Keys of scripts/bench_methods.py."""

    language_model: str = Field(
        description="GGUF file of SmolLM2-135M-Instruct: weights and words of the language model"
    )
    methods: Annotated[tuple[Method, ...], BeforeValidator(by_commas)] = Field(
        default=("qlora", "lora", "full"), description="training methods"
    )
    videos: int = Field(default=4000, ge=60, description="micro-world videos, 5 % of them held out")
    frames: int = Field(default=6, ge=1, le=32, description="maximum frames per video")
    steps: int = Field(default=600, ge=1, description="training steps, for every method")
    batch: int = Field(default=16, ge=1, description="videos per step")
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate of adapters")
    lr_full: float = Field(default=3e-4, gt=0, description="peak learning rate of full training")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    seed: int = Field(default=0, ge=0, description="seed of weights and data order")
    work: str = Field(default="prepared/methods", description="folder of dataset, runs and scores")


WAYS_OF_STAGES = (
    "at once", "connector, then all", "short clips, then dense", "connector, short, dense",
    "connector, short, dense with a fifth short", "mixed at once",
)  # fmt: skip


class BenchStagesConfig(BenchConfig):
    """Keys of scripts/bench_stages.py."""

    language_model: str | None = Field(
        default=None,
        description="GGUF file of a language model to put behind the tower (null: the tiny model)",
    )
    ways: tuple[str, ...] = Field(
        default=WAYS_OF_STAGES, min_length=1, description="ways to train, the first as reference"
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), min_length=1, description="a model of each way each"
    )
    videos: int = Field(
        default=3000, ge=40, description="clips of several scenes; half as many short"
    )
    held_out: int = Field(default=200, ge=1, description="of each, held out")
    frames: int = Field(default=6, ge=1, description="maximum frames per video")
    steps: int = Field(default=700, ge=20, description="training steps of all stages together")
    lr: float | None = Field(
        default=None, gt=0, description="learning rate of whole training (null: the demo's)"
    )
    lr_connector: float = Field(default=4e-3, gt=0, description="of the connector alone")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    workers: int = Field(default=2, ge=1, description="models trained at a time")
    work: str = Field(default="prepared/stages", description="where videos and runs are kept")

    def rates(self) -> tuple[str, ...]:
        """Keys of whole training."""
        return () if self.lr is None else (f"optim.lr={self.lr}", "optim.name=adamw")


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


Way = Literal["windows", "tenths", "own_clock", "one_pass"]


class BenchWindowsConfig(BenchConfig):
    """Keys of scripts/bench_windows.py."""

    ways: Annotated[tuple[Way, ...], BeforeValidator(by_commas)] = Field(
        default=("windows", "one_pass"),
        description="windows: cut, on the video's clock; tenths: the same with times in tenths; own_clock: "
        "cut, each on its own clock; one_pass: the whole film in one prompt",
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0,), description="seeds of weights and data order: 0,1"
    )
    films: int = Field(default=480, ge=20, description="films to render, a sixth of them held out")
    film_s: tuple[float, float] | None = Field(
        default=(30.0, 600.0),
        description="shortest and longest film, in seconds (null: clips of 6 to 20 s)",
    )
    frames: int = Field(default=16, ge=1, description="maximum frames per prompt, for every way")
    steps: int = Field(default=500, ge=1, description="training steps, for every way")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    workers: int = Field(default=2, ge=1, description="models trained at a time, one core each")
    work: str = Field(default="prepared/windows", description="folder of datasets, runs and scores")


LearnedPart = Literal["boundaries", "values", "scenes", "events"]


class BenchLearnedConfig(BenchConfig):
    """Keys of scripts/bench_learned.py."""

    parts: Annotated[tuple[LearnedPart, ...], BeforeValidator(by_commas)] = Field(
        default=("boundaries", "values", "scenes", "events"), description="what to measure"
    )
    work: str = Field(default="prepared/learned", description="where videos and runs are kept")
    clips: str | None = Field(
        default=None, description="boundaries: folder of labelled real clips (clips.jsonl)"
    )
    per_half: int = Field(
        default=4, ge=1, description="boundaries: built videos per group and half"
    )
    selector: str | None = Field(
        default=None,
        description="boundaries: a selector (null: the one that comes with scenescribe)",
    )
    ways: Annotated[tuple[str, ...] | None, BeforeValidator(by_commas)] = Field(
        default=None, description="boundaries: names of the table's rows (null: all)"
    )
    worlds: Annotated[tuple[Literal["plain", "busy"], ...], BeforeValidator(by_commas)] = Field(
        default=("busy", "plain"), description="values, events: micro-worlds"
    )
    objectives: Annotated[tuple[Literal["rank", "reinforce"], ...], BeforeValidator(by_commas)] = (
        Field(default=("rank", "reinforce"), description="values: how they are learned")
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), min_length=1, description="values, events: a model and a selector each"
    )
    videos: int = Field(default=3000, ge=20, description="videos of a world")
    held_out: int = Field(default=100, ge=1, description="of them, held out")
    learn_videos: int = Field(default=2000, ge=2, description="further ones, for the selectors")
    steps: int = Field(default=1000, ge=1, description="training steps of a describer")
    selector_steps: int | None = Field(
        default=None, ge=1, description="of a selector (null: its default)"
    )
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    budgets: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 6, 8), min_length=1, description="values: frames of a choice"
    )
    pool: int = Field(default=24, ge=2, le=256, description="values: frames of the search")
    scene_frames: int = Field(default=6, ge=1, le=32, description="scenes: frames of a video")
    workers: int = Field(default=2, ge=1, description="processes of one thread each")
