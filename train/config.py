"""The keys of a training run, typed and checked before torch is imported.

python -m train.config recipe=qlora optim.lr=3e-4     # prints the resolved keys and stops
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import model_validator

from data.command import command
from data.config import Section
from data.usage import show
from train.sections import (
    DataKeys,
    EvalKeys,
    HubKeys,
    LogKeys,
    LoraKeys,
    ModelKeys,
    OptimKeys,
    TrainKeys,
)


class TrainConfig(Section):
    """Keys of train/sft.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "model.name",
        "data.path",
        "data.target",
        "data.prompt",
        "train.method",
        "train.batch",
        "train.accumulate",
        "train.epochs",
        "train.steps",
        "train.output",
        "train.resume",
        "optim.lr",
        "lora.r",
        "eval.generate_every",
        "log.to",
        "hub.push",
        "hub.repo",
    )

    model: ModelKeys = ModelKeys()
    data: DataKeys = DataKeys()
    lora: LoraKeys = LoraKeys()
    optim: OptimKeys = OptimKeys()
    train: TrainKeys = TrainKeys()
    eval: EvalKeys = EvalKeys()
    log: LogKeys = LogKeys()
    hub: HubKeys = HubKeys()

    @model_validator(mode="after")
    def _check_conflicts(self) -> TrainConfig:
        if lines := list(_conflicts(self)):
            raise ValueError("\n".join(lines))
        return self

    def idle(self) -> list[str]:
        return _idle(self)

    def leaves_tower_out(self, devices: int) -> bool:
        """Whether the vision tower can stay off the device: features are cached and nothing is generated.
        With several devices it stays on all of them, as all must hold the same."""
        return self.data.features and self.eval.generate_every is None and devices == 1

    @property
    def eval_every(self) -> int | None:
        """Optimizer steps between evaluations (None: one epoch)."""
        return self.train.eval_every or self.eval.generate_every


def _conflicts(config: TrainConfig) -> Iterator[str]:
    """An error line for each pair of keys that cannot be combined."""
    if config.train.method == "full":
        if not any(config.optim.rates().values()):
            yield "optim.lr=0: nothing would train; give optim.lr_connector or optim.lr_vision"
    else:
        if config.optim.lr == 0:
            yield "optim.lr=0: an adapter that does not learn; needs train.method=full"
        if config.optim.lr_vision is not None:
            yield "optim.lr_vision needs train.method=full; adapters use optim.lr and lora.targets"
        if config.optim.lr_connector is not None and not config.lora.connector:
            yield (
                "optim.lr_connector needs train.method=full or lora.connector=true; adapters use "
                "optim.lr and lora.targets"
            )
        if config.lora.connector and config.optim.lr_connector == 0:
            yield "optim.lr_connector=0: lora.connector=true trains the connector; leave one of them out"
        if config.lora.connector and config.lora.targets != "llm":
            yield (
                f"lora.connector=true: lora.targets={config.lora.targets} adapts the connector already; "
                "give one of the two"
            )
    if config.optim.name == "muon" and config.train.method != "full":
        yield "optim.name=muon: needs train.method=full; an adapter's matrices are of low rank by design"
    batch = config.train.batch
    if config.train.pack and batch > 1:
        yield f"train.batch={batch}: with train.pack=true a forward pass takes one row; use train.pack_tokens"
    if config.train.pack and config.data.stream:
        yield "train.pack=true: cannot be combined with data.stream=true yet; leave one of them out"
    if config.train.pack and config.model.attention == "eager":
        yield "train.pack=true: needs model.attention=sdpa or flash_attention_2"
    every = config.train.eval_every
    if config.eval.generate_every is not None and every is not None:
        if config.eval.best in ("soda_c", "judge") and every != config.eval.generate_every:
            yield (
                f"eval.best={config.eval.best}: train.eval_every must be eval.generate_every; leave it out"
            )
        if config.eval.generate_every % every:
            yield (
                f"eval.generate_every={config.eval.generate_every}: must be a multiple of train.eval_every={every}"
            )
    if config.data.eval_share == 0 and (config.eval.generate_every or config.eval.best != "none"):
        yield "eval.*: no video is held out; give data.eval_share"
    if config.eval.also is not None:
        if config.data.eval_share == 0:
            yield f"eval.also={config.eval.also}: no video is held out; give data.eval_share"
        if config.data.features:
            yield "eval.also: its frames are not cached; leave data.features=true out"
    if config.data.features and config.data.stream:
        yield "data.features=true: cannot be combined with data.stream=true; leave one of them out"
    if config.data.target == "paragraph" and config.eval.best == "soda_c":
        yield "eval.best=soda_c: needs times; use data.target=timeline or eval.best=loss"


def _idle(config: TrainConfig) -> list[str]:
    """A line for each key that is set but has no effect."""
    train, evals = config.train, config.eval
    lines = []
    if train.method == "full":
        values = config.lora.changed()
        given = [k for k, v in values.items() if (k, v) != ("dropout", 0)]  # needs no adapter
        lines += [f"lora.{key}: train.method=full has no adapter" for key in given]
    if not train.pack and "pack_tokens" in train.changed():
        lines.append(f"train.pack_tokens={train.pack_tokens}: needs train.pack=true")
    if not config.data.stream and "shuffle_buffer" in config.data.changed():
        lines.append(f"data.shuffle_buffer={config.data.shuffle_buffer}: needs data.stream=true")
    if train.save_every is not None and evals.best != "none":
        lines.append(
            f"train.save_every={train.save_every}: with eval.best={evals.best} a checkpoint is saved "
            "at each evaluation; use train.eval_every"
        )
    if train.eval_every is not None and config.data.eval_share == 0:
        lines.append(
            f"train.eval_every={train.eval_every}: no video is held out; give data.eval_share"
        )
    if evals.generate_every is not None:  # null switches off the eval.* keys of a recipe on purpose
        lines += [
            f"eval.{line.replace('judge.model', 'eval.judge.model')}" for line in evals.judge.idle()
        ]
    if config.log.to == "none" and "project" in config.log.changed():
        lines.append(f"log.project={config.log.project}: no tracker is set; give log.to")
    if config.hub.repo is not None and config.hub.target is None:
        lines.append(f"hub.repo={config.hub.repo}: nothing is pushed there; add hub.push=true")
    return lines


def main(config: TrainConfig) -> None:
    print(show(config))


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
