"""The keys of scripts/sample.py and train/prefer.py."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.config import Section
from data.storage import is_url
from train.config import TrainConfig
from train.inference.config import Force
from train.metrics.config import JudgeKeys, TextScore
from train.sections import OptimKeys

Maker = Literal["sampled", "dropped", "swapped", "shifted", "repeated"]
"""Where the worse answer of a pair comes from."""


class RewardKeys(Section):
    """Weights of the parts of the reward. Each part is 0 to 1, and so is their weighted mean."""

    soda_c: float = Field(
        default=1.0, ge=0, description="right events, in order, at the right time"
    )
    tiou_f1: float = Field(default=1.0, ge=0, description="right times, whatever is said there")
    text: float = Field(
        default=1.0, ge=0, description="METEOR-lite of the whole text, of answers without times"
    )
    format: float = Field(
        default=0.25, ge=0, description="lines have times, in the video and in order"
    )
    coverage: float = Field(
        default=0.25,
        ge=0,
        description="no more and no less of the video is told than there is to tell",
    )
    repetition: float = Field(default=0.25, ge=0, description="no four words twice")
    judge: float = Field(default=0.0, ge=0, description="what judge.model thinks, F1 of events")


class MakerKeys(Section):
    """Share of the rows that get a pair of each kind."""

    sampled: float = Field(
        default=1.0, ge=0, le=1, description="best and worst of the sampled answers"
    )
    dropped: float = Field(
        default=0.0, ge=0, le=1, description="the reference, and without a third of its scenes"
    )
    swapped: float = Field(
        default=0.0, ge=0, le=1, description="the reference, and with two texts exchanged"
    )
    shifted: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="the reference, and with times moved by a tenth or more",
    )
    repeated: float = Field(
        default=0.0, ge=0, le=1, description="the reference, and with a scene told again and again"
    )


class SampleData(Section):
    """The videos that are described."""

    path: str = Field(description="prepared dataset with the videos and their references")
    part: Literal["learned", "all"] = Field(
        default="all",
        description="videos to use; learned: not those that the run held out of this dataset (pairs of these "
        "are evaluated on)",
    )
    limit: int | None = Field(
        default=None, ge=1, description="maximum number of rows (null: no limit)"
    )


class SampleGenerateKeys(Section):
    """How answers are sampled."""

    temperature: float = Field(default=0.7, gt=0, description="the higher, the more they differ")
    max_new_tokens: int = Field(
        default=512, ge=1, description="maximum length of an answer, tokens"
    )
    batch: int = Field(default=4, ge=1, description="videos at a time, each with all its samples")


class SampleConfig(Section):
    """Keys of scripts/sample.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "run", "data.path", "samples", "out", "data.limit", "generate.temperature", "margin",
        "makers.sampled", "makers.dropped", "makers.shifted", "judge.model",
    )  # fmt: skip
    RENAMED: ClassVar = {"adapter": "run"}

    run: str = Field(description="the describer: a run, an adapter, or a Hub name")
    data: SampleData
    samples: int = Field(default=4, ge=2, le=64, description="answers to each video")
    out: str | None = Field(
        default=None, description="folder of the pairs (null: beside the dataset, PATH-pairs)"
    )
    generate: SampleGenerateKeys = SampleGenerateKeys()
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision: bf16 where native, fp16 on a T4, fp32 on CPU"
    )
    reward: RewardKeys = RewardKeys()
    soda_text: TextScore = Field(default="meteor_lite", description="SODA's text score")
    judge: JudgeKeys = JudgeKeys()
    makers: MakerKeys = MakerKeys()
    margin: float = Field(
        default=0.1, ge=0, lt=1, description="leave out pairs whose rewards differ by less"
    )
    seed: int = Field(default=0, ge=0, description="seed of sampling, and of what is made worse")
    shown: int = Field(default=30, ge=0, description="pairs on the page pairs.html")
    overwrite: bool = Field(default=False, description="replace pairs that are already in out")
    force: Force = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.makers.model_dump().values()):
            raise ValueError("makers.*: all are 0, so no pair is made; give one of them")
        if not any(self.reward.model_dump().values()):
            raise ValueError("reward.*: all are 0, so no answer is better; give one of them")
        if self.reward.judge and self.judge.model is None:
            raise ValueError("reward.judge: which judge? give judge.model")
        if self.judge.frames:
            raise ValueError(
                f"judge.frames={self.judge.frames}: an answer is judged by its text here; leave it out"
            )
        if self.judge.model is not None and not self.reward.judge:
            raise ValueError("judge.model: what it thinks has no weight; give reward.judge")
        if self.out is None and is_url(self.data.path):
            raise ValueError(f"out: missing; nothing can be written beside {self.data.path}")
        return self

    def idle(self) -> list[str]:
        if self.makers.sampled:
            return []
        given = [f"generate.{key}" for key in self.generate.changed()]
        given += ["samples"] if "samples" in self.changed() else []
        return [f"{key}: no answer is sampled; give makers.sampled" for key in given]

    @property
    def folder(self) -> str:
        """Where the pairs are written."""
        return self.out if self.out is not None else f"{self.data.path.rstrip('/')}-pairs"


class PreferKeys(Section):
    """Training after SFT."""

    method: Literal["dpo", "dpo+sft", "rft", "grpo"] = Field(
        default="dpo",
        description="dpo: the better answer over the worse; dpo+sft: and the better one is learned; rft: "
        "only that; grpo: no pairs, answers are sampled as it learns",
    )
    beta: float = Field(
        default=0.1, gt=0, description="dpo: how closely the model stays at where it began"
    )
    sft_weight: float = Field(
        default=1.0, gt=0, description="dpo+sft: weight of the loss of the better answer"
    )
    answers: int = Field(
        default=8, ge=2, le=64, description="grpo: answers to each video, compared with each other"
    )
    temperature: float = Field(default=1.0, gt=0, description="grpo: of sampling")
    max_new_tokens: int = Field(
        default=256, ge=1, description="grpo: maximum length of an answer, tokens"
    )

    def idle(self) -> list[str]:
        used = {
            "dpo": {"beta"},
            "dpo+sft": {"beta", "sft_weight"},
            "rft": set[str](),
            "grpo": {"answers", "temperature", "max_new_tokens"},
        }[self.method]
        given = sorted(self.changed().keys() - {"method"} - used)
        return [f"prefer.{key}: prefer.method={self.method} has no use for it" for key in given]


class PreferConfig(TrainConfig):
    """Keys of train/prefer.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "pairs",
        "prefer.method",
        "prefer.beta",
        "prefer.answers",
        *TrainConfig.COMMON,
    )

    pairs: str | None = Field(
        default=None, description="folder of pairs that scripts/sample.py made"
    )
    prefer: PreferKeys = PreferKeys()
    reward: RewardKeys = RewardKeys()
    soda_text: Literal["meteor_lite", "rouge_l"] = Field(
        default="meteor_lite", description="grpo: SODA's text score"
    )
    optim: OptimKeys = OptimKeys(lr=1e-5)

    def idle(self) -> list[str]:
        lines = [*super().idle(), *self.prefer.idle()]
        if self.prefer.method == "grpo":
            return [*lines, *(["pairs: grpo samples by itself"] if self.pairs else [])]
        given = [f"reward.{key}" for key in self.reward.changed()]
        given += ["soda_text"] if "soda_text" in self.changed() else []
        return [
            *lines,
            *(f"{key}: pairs have their rewards; prefer.method=grpo uses it" for key in given),
        ]

    @model_validator(mode="after")
    def _check_answers(self) -> Self:
        method = self.prefer.method
        for key in ("features", "stream"):
            if getattr(self.data, key):
                raise ValueError(f"data.{key}=true: not after SFT yet; leave it out")
        if self.data.marks is not None and method != "grpo":
            raise ValueError(
                f"data.marks={self.data.marks}: pairs are made already; leave rows out with scripts/curate.py"
            )
        if self.train.pack:
            raise ValueError(
                "train.pack=true: answers share a row with their prompt already; leave it out"
            )
        if method == "rft":
            return self
        if self.model.attention == "flash_attention_2":
            raise ValueError(
                "model.attention=flash_attention_2: cannot share a prompt between answers; use sdpa"
            )
        if self.eval.also is not None:
            raise ValueError(f"eval.also={self.eval.also}: not with prefer.method={method}")
        if method == "grpo" and self.train.offload:
            raise ValueError("train.offload=true: not with prefer.method=grpo; leave it out")
        if method == "grpo" and self.reward.judge:
            raise ValueError(
                "reward.judge: too slow to ask at each step; scripts/sample.py takes it"
            )
        return self
