"""The sections of a training run's keys, typed and checked before torch is imported."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from data.config import Section
from train.metrics.config import JudgeKeys, TextScore

Method = Literal["full", "lora", "qlora"]


INSTRUCTIONS = {
    "timeline": "Describe what happens in this video, scene by scene, with times.",
    "paragraph": "Describe this video in detail.",
}
"""What is asked where `data.prompt` does not say."""


class ModelKeys(Section):
    """Which checkpoint, and how it is held in memory."""

    name: str = Field(
        default="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        description="Hub id or folder of a SmolVLM2 checkpoint; 'tiny' builds one for a CPU",
    )
    revision: str | None = Field(default=None, description="branch, tag or commit on the Hub")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="precision of compute: bf16 where native, fp16 on a T4, fp32 on CPU",
    )
    attention: Literal["sdpa", "flash_attention_2", "eager"] = Field(
        default="sdpa", description="attention kernel"
    )


class DataKeys(Section):
    """The prepared dataset and how its rows become prompts and answers."""

    RENAMED: ClassVar = {"buffer": "shuffle_buffer"}

    path: str = Field(
        default="prepared/videos",
        description="folder made by scripts/prepare.py, or its URL, as hf://datasets/you/name",
    )
    stream: bool = Field(
        default=False, description="read pictures as they are needed: no copy, no download before"
    )
    features: bool = Field(
        default=False, description="read what scripts/cache_features.py made, not pictures"
    )
    shuffle_buffer: int = Field(
        default=128, ge=1, description="data.stream=true: rows shuffled among each other"
    )
    eval_share: float = Field(default=0.05, ge=0, lt=1, description="share of videos held out")
    eval_max: int = Field(
        default=200, ge=1, description="held-out videos at most: each evaluation sees all"
    )
    target: Literal["timeline", "paragraph"] = Field(
        default="timeline", description="what to say: a line per event with times, or prose"
    )
    prompt: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="instruction, or a list chosen from by sample id (null: by target)",
    )
    system: str | None = Field(default=None, description="system turn (null: none)")
    max_tokens: int = Field(
        default=8192,
        ge=64,
        description="longer samples lose whole frames, the least valuable first",
    )
    workers: int = Field(default=2, ge=0, description="processes that decode frames for the step")


class LoraKeys(Section):
    """The adapter (train.method=lora|qlora)."""

    r: int = Field(default=16, ge=1, description="rank")
    alpha: int = Field(default=32, ge=1, description="scale: the update counts alpha / r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["llm", "llm+connector", "all"] = Field(
        default="llm", description="which linear layers get an adapter"
    )
    dora: bool = Field(default=False, description="weight-decomposed adapters (DoRA)")
    rslora: bool = Field(default=False, description="scale by alpha / sqrt(r)")


class OptimKeys(Section):
    """How weights move."""

    name: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        default="adamw", description="optimizer; the 8-bit ones need a GPU"
    )
    lr: float = Field(
        default=1e-4, gt=0, description="peak learning rate (language model, adapters)"
    )
    lr_vision: float | None = Field(
        default=None, ge=0, description="train.method=full: of the vision tower (null or 0: frozen)"
    )
    lr_connector: float | None = Field(
        default=None,
        ge=0,
        description="train.method=full: of the connector (null: as optim.lr; 0: frozen)",
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="learning rate after the warm-up"
    )
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of steps spent warming up")
    weight_decay: float = Field(default=0.0, ge=0, description="decay of weights that are matrices")
    beta2: float = Field(default=0.999, gt=0, lt=1, description="Adam's second-moment decay")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")


class TrainKeys(Section):
    """The run."""

    RENAMED: ClassVar = {"keep": "keep_checkpoints", "frames_at_once": "vision_batch"}

    method: Method = Field(default="lora", description="what trains: all weights or an adapter")
    batch: int = Field(default=1, ge=1, description="videos in one forward pass, per device")
    pack: bool = Field(
        default=False,
        description="join videos in one row of train.pack_tokens instead of padding them",
    )
    pack_tokens: int = Field(default=8192, ge=64, description="train.pack=true: tokens in a row")
    accumulate: int = Field(default=8, ge=1, description="forward passes per optimizer step")
    epochs: float = Field(default=1.0, gt=0, description="passes over the data")
    steps: int | None = Field(default=None, ge=1, description="optimizer steps (overrides epochs)")
    output: str | None = Field(default=None, description="run folder (null: runs/<method>-<time>)")
    resume: bool = Field(default=False, description="continue from the last checkpoint in output")
    seed: int = Field(default=0, ge=0, description="seed of data order and new weights")
    checkpointing: bool = Field(
        default=True, description="recompute activations in backward: less memory, more time"
    )
    offload: bool = Field(
        default=False, description="keep what backward needs in the computer's memory: slower"
    )
    vision_batch: int = Field(
        default=16, ge=1, description="frames through the vision tower at a time: only memory"
    )
    log_every: int = Field(default=10, ge=1, description="steps between log lines")
    eval_every: int | None = Field(
        default=None, ge=1, description="steps between evaluations (null: after each epoch)"
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between checkpoints (null: a tenth of the run, from 10 to 500)",
    )
    force: bool = Field(default=False, description="start even where this machine seems too small")
    keep_checkpoints: int = Field(default=2, ge=1, description="checkpoints kept")


class EvalKeys(Section):
    """What the model says of held-out videos while it trains."""

    RENAMED: ClassVar = {"text": "soda_text"}

    generate_every: int | None = Field(
        default=None, ge=1, description="steps between descriptions of held-out videos (null: none)"
    )
    samples: int = Field(default=16, ge=1, description="held-out videos described each time")
    batch: int = Field(default=4, ge=1, description="of them at a time")
    max_new_tokens: int = Field(default=512, ge=1, description="longest answer")
    max_seconds: float = Field(default=300, gt=0, description="never describe longer than this")
    soda_text: TextScore = Field(default="meteor_lite", description="SODA's text score")
    best: Literal["none", "loss", "soda_c", "judge"] = Field(
        default="none", description="keep the checkpoint that is best by this, not the last"
    )
    judge: JudgeKeys = JudgeKeys()

    @model_validator(mode="after")
    def _can_be_known(self) -> EvalKeys:
        if self.best in ("soda_c", "judge") and self.generate_every is None:
            raise ValueError(f"best={self.best}: needs eval.generate_every=STEPS")
        if self.best == "judge" and self.judge.model is None:
            raise ValueError("best=judge needs eval.judge.model=NAME (and eval.judge.base_url)")
        return self


class LogKeys(Section):
    """Where curves go, beside the local metrics.jsonl."""

    to: Literal["none", "wandb", "tensorboard", "trackio"] = Field(
        default="none", description="also log to this tracker"
    )
    project: str = Field(default="scenescribe", description="project name there")


class HubKeys(Section):
    """Where the result goes on the Hub."""

    push: bool = Field(default=False, description="push the result when the run has ended")
    repo: str | None = Field(default=None, description="owner/name of the model on the Hub")
    private: bool = Field(default=True, description="only you can see it (of a new repository)")
    checkpoints: bool = Field(
        default=False, description="push each checkpoint's weights too; training waits"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> HubKeys:
        if (self.push or self.checkpoints) and self.repo is None:
            raise ValueError("hub.push=true needs hub.repo=owner/name")
        if self.repo is not None and self.repo.count("/") != 1:
            raise ValueError(f"repo={self.repo}: write owner/name")
        return self

    @property
    def target(self) -> str | None:
        """Where to push, if something is to be pushed."""
        return self.repo if self.push or self.checkpoints else None
