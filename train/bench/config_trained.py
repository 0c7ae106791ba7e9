"""The keys of the benches that train models, of each setting one a seed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig
from data.config import Names, by_commas
from train.memory.config import Size
from train.sections import Method

TokensPart = Literal["fits", "alike", "verbs", "questions", "compress", "tiles"]


class SeedsConfig(BenchConfig):
    """Of benchmarks that train tiny models, of each setting one a seed."""

    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), min_length=1, description="seeds of weights and data order: 0,1"
    )
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    workers: int = Field(default=2, ge=1, description="models trained at a time, one core each")


class BenchTokensConfig(SeedsConfig):
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
    videos: int = Field(
        default=2000, ge=40, description="videos of the micro-world, a tenth of them held out"
    )
    steps: int = Field(default=600, ge=1, description="training steps of a model")


class PoliciesConfig(SeedsConfig):
    """Keys of scripts/bench_policies.py."""

    policies: Names = Field(
        default=("scene", "uniform", "smolvlm"), description="frame policies: a,b"
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
    mixed: bool = Field(default=True, description="also describe with the other policies' frames")
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


class BenchStagesConfig(SeedsConfig):
    """Keys of scripts/bench_stages.py."""

    language_model: str | None = Field(
        default=None,
        description="GGUF file of a language model to put behind the tower (null: the tiny model)",
    )
    ways: tuple[str, ...] = Field(
        default=WAYS_OF_STAGES, min_length=1, description="ways to train, the first as reference"
    )
    videos: int = Field(
        default=3000, ge=40, description="clips of several scenes; half as many short"
    )
    held_out: int = Field(default=200, ge=1, description="of each, held out")
    frames: int = Field(default=6, ge=1, description="maximum frames per video")
    steps: int = Field(default=700, ge=20, description="training steps of all stages together")
    batch: int = Field(default=16, ge=1, description="videos per step")
    method: Literal["full", "lora"] = Field(
        default="full",
        description="lora: adapters on the language model, beside them the connector whole, in bf16",
    )
    lr: float | None = Field(
        default=None,
        gt=0,
        description="learning rate of training all (null: the demo's, or 1e-3 of adapters)",
    )
    lr_connector: float = Field(default=4e-3, gt=0, description="of the connector alone")
    work: str = Field(default="prepared/stages", description="where videos and runs are kept")

    def keys_of(self, *, connector_alone: bool) -> list[str]:
        """Of a stage: what trains, how fast, on how many videos a step."""
        adapters = self.method == "lora"
        lr = self.lr or (1e-3 if adapters else None)
        keys = [f"train.batch={self.batch}"]
        if lr is not None:
            keys += ["optim.name=adamw"]  # the demo's Muon is for whole matrices
        if connector_alone:
            rate = f"optim.lr_connector={self.lr_connector}"
            return [*keys, "optim.lr=0", "optim.lr_vision=0", rate]
        if lr is not None:
            keys += [f"optim.lr={lr}"]
        if adapters:
            keys += ["train.method=lora", "lora.r=32", "lora.alpha=32", "lora.targets=llm"]
            keys += ["lora.dropout=0", "lora.connector=true", "optim.lr_vision=null"]
            keys += ["model.dtype=bf16"]
        return keys


Way = Literal["windows", "tenths", "own_clock", "one_pass"]


class BenchWindowsConfig(SeedsConfig):
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
    work: str = Field(default="prepared/windows", description="folder of datasets, runs and scores")


LearnedPart = Literal["boundaries", "values", "scenes", "events"]


class BenchLearnedConfig(SeedsConfig):
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
    videos: int = Field(default=3000, ge=20, description="videos of a world")
    held_out: int = Field(default=100, ge=1, description="of them, held out")
    learn_videos: int = Field(default=2000, ge=2, description="further ones, for the selectors")
    steps: int = Field(default=1000, ge=1, description="training steps of a describer")
    selector_steps: int | None = Field(
        default=None, ge=1, description="of a selector (null: its default)"
    )
    budgets: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 6, 8), min_length=1, description="values: frames of a choice"
    )
    pool: int = Field(default=24, ge=2, le=256, description="values: frames of the search")
    scene_frames: int = Field(default=6, ge=1, le=32, description="scenes: frames of a video")


class BenchAuditConfig(SeedsConfig):
    """Keys of scripts/bench_audit.py."""

    shares: Annotated[tuple[float, ...], BeforeValidator(by_commas)] = Field(
        default=(0.05, 0.1, 0.2), min_length=1, description="of the rows, with a bad label"
    )
    videos: int = Field(default=1500, ge=40, description="videos of the micro-world to learn from")
    held_out: int = Field(default=150, ge=1, description="further ones, with exact labels")
    frames: int = Field(default=6, ge=1, le=32, description="frames of a video")
    steps: int = Field(default=500, ge=1, description="training steps of each model")
    work: str = Field(default="prepared/audit", description="where videos and runs are kept")


class BenchRegionsConfig(SeedsConfig):
    """Keys of scripts/bench_regions.py."""

    videos: int = Field(default=1500, ge=20, description="videos of two subjects to learn from")
    held_out: int = Field(default=100, ge=1, description="further ones, to be described")
    frames: int = Field(default=6, ge=1, le=32, description="frames of a video")
    steps: int = Field(default=800, ge=1, description="training steps of each model")
    work: str = Field(default="prepared/regions", description="where videos and runs are kept")


class BenchTeacherConfig(SeedsConfig):
    """Keys of scripts/bench_teacher.py."""

    known: int = Field(default=3000, ge=40, description="true labels that the teacher learns from")
    known_steps: int = Field(default=1000, ge=1, description="training steps of the teacher")
    videos: int = Field(default=1000, ge=20, description="videos without labels, which it tells")
    few: int = Field(default=200, ge=20, description="true labels of another pupil")
    held_out: int = Field(default=200, ge=1, description="further videos, to be described by all")
    frames: int = Field(default=6, ge=1, le=32, description="frames of a video")
    steps: int = Field(default=500, ge=1, description="training steps of each pupil")
    work: str = Field(default="prepared/teacher", description="where videos and runs are kept")


PoorLabels = Literal["jittered", "invented", "few"]
CASES: tuple[PoorLabels, ...] = ("jittered", "invented", "few")
WAYS_AFTER_SFT = (
    "more SFT", "SFT on the exact labels", "RFT", "DPO of samples", "DPO of made worse",
    "DPO + SFT of both", "GRPO",
)  # fmt: skip


class BenchPreferConfig(SeedsConfig):
    """Keys of scripts/bench_prefer.py."""

    parts: Annotated[tuple[Literal["cost", "ways"], ...], BeforeValidator(by_commas)] = Field(
        default=("cost", "ways"), description="what to measure"
    )
    model: Size = Field(default="256M", description="cost: model shape, with random weights")
    cost_frames: int = Field(default=2, ge=1, description="cost: frames of the video")
    answer_tokens: int = Field(default=100, ge=2, description="cost: tokens of an answer")
    cases: Annotated[
        tuple[Literal["jittered", "invented", "few"], ...], BeforeValidator(by_commas)
    ] = Field(default=CASES, description="what is poor about the labels of SFT")
    ways: Annotated[tuple[str, ...], BeforeValidator(by_commas)] = Field(
        default=WAYS_AFTER_SFT,
        min_length=1,
        description="what comes after it, the first as reference",
    )
    videos: int = Field(default=2400, ge=20, description="with poor labels (case few: 200 of them)")
    exact: int = Field(default=300, ge=20, description="others with exact labels (case few: 2,000)")
    held_out: int = Field(default=200, ge=1, description="further ones that are described")
    frames: int = Field(default=6, ge=1, description="maximum frames per video")
    steps: int = Field(default=800, ge=1, description="of SFT on the poor labels")
    sft_steps: int = Field(default=400, ge=1, description="of more SFT, and of RFT")
    dpo_steps: int = Field(default=100, ge=1, description="of DPO")
    grpo_steps: int = Field(default=60, ge=1, description="of GRPO, of eight videos")
    samples: int = Field(default=4, ge=2, description="answers sampled for a pair")
    work: str = Field(default="prepared/prefer", description="where videos and runs are kept")
