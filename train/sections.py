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
"""The default instruction for each `data.target`, if `data.prompt` is null."""


class ModelKeys(Section):
    """The checkpoint, its precision and its attention kernel."""

    name: str = Field(
        default="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        description="Hub id or folder of a SmolVLM2 checkpoint, or of a run to go on from; 'tiny' builds one for "
        "a CPU",
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit on the Hub (null: main)"
    )
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="compute precision (auto: bf16 where native, fp16 on a T4, fp32 on a CPU)",
    )
    attention: Literal["sdpa", "flash_attention_2", "eager"] = Field(
        default="sdpa", description="attention kernel"
    )
    tokens_a_frame: int | None = Field(
        default=None,
        ge=1,
        description="fewer tokens a frame, by a wider connector: 16 or 4 of 64 (256M, 500M), 9 of 81 "
        "(2.2B) (null: the model's own)",
    )


class DataKeys(Section):
    """The prepared dataset and how its rows become prompts and answers."""

    RENAMED: ClassVar = {"buffer": "shuffle_buffer"}

    path: str = Field(
        default="prepared/videos",
        description="folder made by scripts/prepare.py, or its URL, e.g. hf://datasets/you/name",
    )
    stream: bool = Field(
        default=False, description="read frames during training, without a copy or download first"
    )
    features: bool = Field(
        default=False,
        description="read vision features cached by scripts/cache_features.py, not frames",
    )
    shuffle_buffer: int = Field(
        default=128, ge=1, description="shuffle buffer in rows (needs data.stream=true)"
    )
    eval_share: float = Field(default=0.05, ge=0, lt=1, description="share of videos held out")
    eval_max: int = Field(
        default=200, ge=1, description="largest number of held-out rows; all are evaluated"
    )
    marks: str | None = Field(
        default=None,
        description="marks.jsonl of an audit's page: rows marked drop are left out (null: none)",
    )
    target: Literal["timeline", "paragraph"] = Field(
        default="timeline", description="form of the answer: a line per event with times, or prose"
    )
    clock: Literal["seconds", "tenths"] = Field(
        default="seconds", description="what times in answers and beside frames are rounded to"
    )
    window_clock: Literal["own", "video"] = Field(
        default="video",
        description="in a window of a long video, times count from the video's start, or its own "
        "(always own for a run that learned from no window)",
    )
    prompt: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="instruction, or a list of them (sample id picks one; null: by data.target)",
    )
    system: str | None = Field(default=None, description="system turn (null: none)")
    max_tokens: int = Field(
        default=8192,
        ge=64,
        description="longest sample, in tokens; longer ones lose whole frames, least valuable first",
    )
    context_tokens: int = Field(
        default=2048,
        ge=0,
        description="most tokens of a row's context, such as speech; lines at its end are left out",
    )
    workers: int = Field(
        default=2, ge=0, description="data loader processes that decode frames, per device"
    )


class LoraKeys(Section):
    """The adapter (train.method=lora|qlora)."""

    r: int = Field(default=16, ge=1, description="rank")
    alpha: int = Field(default=32, ge=1, description="scale: the update is multiplied by alpha / r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["llm", "connector", "llm+connector", "all"] = Field(
        default="llm", description="which linear layers get an adapter"
    )
    connector: bool = Field(
        default=False,
        description="train the connector whole, beside the adapter (for fewer tokens a frame)",
    )
    dora: bool = Field(default=False, description="weight-decomposed adapters (DoRA)")
    rslora: bool = Field(default=False, description="scale by alpha / sqrt(r) instead of alpha / r")


class OptimKeys(Section):
    """Optimizer, learning rates and schedule."""

    name: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "muon"] = Field(
        default="adamw",
        description="optimizer; the 8-bit ones need a GPU; muon: fewer steps from scratch, train.method=full",
    )
    lr: float = Field(
        default=1e-4,
        ge=0,
        description="peak learning rate (language model, adapters; 0: frozen, train.method=full)",
    )
    lr_vision: float | None = Field(
        default=None,
        ge=0,
        description="learning rate of the vision tower, train.method=full (null or 0: frozen)",
    )
    lr_connector: float | None = Field(
        default=None,
        ge=0,
        description="learning rate of the connector, train.method=full or lora.connector=true (null: "
        "optim.lr; 0: frozen)",
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="learning rate schedule after the warm-up"
    )
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of steps spent warming up")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay, of matrices only")
    beta2: float = Field(default=0.999, gt=0, lt=1, description="Adam's second-moment decay")
    clip: float = Field(default=1.0, gt=0, description="clip gradients to this norm")

    def rates(self) -> dict[str, float]:
        """The peak learning rate of each part of the model, with `train.method=full`; 0: it is frozen."""
        connector = self.lr if self.lr_connector is None else self.lr_connector
        return {"vision": self.lr_vision or 0.0, "connector": connector, "llm": self.lr}


class TrainKeys(Section):
    """The training run: method, batch, length, checkpoints, memory."""

    RENAMED: ClassVar = {"keep": "keep_checkpoints", "frames_at_once": "vision_batch"}

    method: Method = Field(default="lora", description="what trains: all weights or an adapter")
    batch: int = Field(default=1, ge=1, description="videos in one forward pass, per device")
    pack: bool = Field(
        default=False,
        description="packing: join videos in one row of train.pack_tokens instead of padding",
    )
    pack_tokens: int = Field(
        default=8192, ge=64, description="tokens in a packed row (needs train.pack=true)"
    )
    accumulate: int = Field(
        default=8, ge=1, description="gradient accumulation: forward passes per optimizer step"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the data")
    steps: int | None = Field(
        default=None, ge=1, description="optimizer steps (null: by train.epochs)"
    )
    output: str | None = Field(default=None, description="run folder (null: runs/<method>-<time>)")
    resume: bool = Field(
        default=False, description="continue from the last checkpoint in train.output"
    )
    seed: int = Field(default=0, ge=0, description="seed of data order and new weights")
    checkpointing: bool = Field(
        default=True,
        description="gradient checkpointing: recompute activations; less memory, more time",
    )
    offload: bool = Field(
        default=False, description="offload activations to CPU memory: less GPU memory, slower"
    )
    vision_batch: int = Field(
        default=16, ge=1, description="frames per pass of the vision tower (only changes memory)"
    )
    log_every: int = Field(default=10, ge=1, description="steps between log lines")
    eval_every: int | None = Field(
        default=None, ge=1, description="steps between evaluations (null: after each epoch)"
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between checkpoints (null: a tenth of the run, at least 10, at most 500)",
    )
    force: bool = Field(
        default=False,
        description="start even if this machine seems too small or a resumed run's samples differ",
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="number of checkpoints kept")


class EvalKeys(Section):
    """Descriptions of held-out videos, generated and scored during training."""

    RENAMED: ClassVar = {"text": "soda_text"}

    generate_every: int | None = Field(
        default=None, ge=1, description="steps between descriptions of held-out videos (null: none)"
    )
    also: str | None = Field(
        default=None,
        description="another prepared dataset, as of an earlier stage: the loss on its held-out videos is logged "
        "too (null: none)",
    )
    worth: bool = Field(
        default=True,
        description="also measure, before step 1 and after the last, what frames are worth: the loss with grey "
        "ones and with another video's",
    )
    samples: int = Field(default=16, ge=1, description="held-out videos described each time")
    batch: int = Field(default=4, ge=1, description="held-out videos described in one batch")
    max_new_tokens: int = Field(default=512, ge=1, description="longest answer, in tokens")
    max_seconds: float = Field(default=300, gt=0, description="time limit of each generation, in s")
    soda_text: TextScore = Field(default="meteor_lite", description="text score used by SODA")
    best: Literal["none", "loss", "soda_c", "judge"] = Field(
        default="none", description="keep the best checkpoint by this (none: keep the last one)"
    )
    judge: JudgeKeys = JudgeKeys()

    @model_validator(mode="after")
    def _check_best(self) -> EvalKeys:
        if self.best in ("soda_c", "judge") and self.generate_every is None:
            raise ValueError(f"best={self.best}: needs eval.generate_every=STEPS")
        if self.best == "judge" and self.judge.model is None:
            raise ValueError("best=judge needs eval.judge.model=NAME (and eval.judge.base_url)")
        return self


class LogKeys(Section):
    """The experiment tracker, beside the local metrics.jsonl."""

    to: Literal["none", "wandb", "tensorboard", "trackio"] = Field(
        default="none", description="tracker to log to as well"
    )
    project: str = Field(default="scenescribe", description="project name in the tracker")


class HubKeys(Section):
    """Pushing the result to the Hub."""

    push: bool = Field(default=False, description="push the result when the run has ended")
    repo: str | None = Field(
        default=None, description="owner/name of the model on the Hub (null: none)"
    )
    private: bool = Field(default=True, description="make a new repository private")
    checkpoints: bool = Field(
        default=False, description="also push each checkpoint's weights; training waits for it"
    )

    @model_validator(mode="after")
    def _check_repo(self) -> HubKeys:
        if (self.push or self.checkpoints) and self.repo is None:
            raise ValueError("hub.push=true needs hub.repo=owner/name")
        if self.repo is not None and self.repo.count("/") != 1:
            raise ValueError(f"repo={self.repo}: write owner/name")
        return self

    @property
    def target(self) -> str | None:
        """The repository to push to; None if nothing is pushed."""
        return self.repo if self.push or self.checkpoints else None
