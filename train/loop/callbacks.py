"""Callbacks of the trainer: local log, checkpoints, run page, and state to restore after a resume."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.errors import UserError, first_line, warn
from data.storage import write_atomically
from train.batches.samplers import Order
from train.config import TrainConfig
from train.evaluation.report.run_page import PAGE, write_page
from train.hub.push import push_checkpoint
from train.run.files import METRICS, SAMPLES, json_text, read_rows
from train.run.folder import complete_checkpoints, remove_oldest, step_of
from train.run.trackers import Tracker, tracker_of
from train.sections import HubKeys


class MetricsFile(TrainerCallback):
    """Writes every logged row as a JSON line of `metrics.jsonl` in the run folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Drop the rows of steps after the checkpoint: a resumed run repeats these steps."""
        if state.is_world_process_zero:
            for name in (METRICS, SAMPLES):
                _drop_rows_after(self._folder / name, state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if state.is_world_process_zero and logs:
            row = {"step": state.global_step, **logs}
            with (self._folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json_text(row, indent=None))


def _drop_rows_after(path: Path, step: int) -> None:
    if path.exists():
        # the summary goes too: a run that was cut off at its end writes it again
        rows = [r for r in read_rows(path) if r["step"] <= step and "train_runtime" not in r]
        kept = [json_text(row, indent=None) for row in rows]
        write_atomically(path, "".join(kept))


class OffloadVisionTower(TrainerCallback):
    """Moves the vision tower to the CPU: with cached features it is not used."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        for name, module in given["model"].named_modules():
            if name.endswith("model.vision_model"):
                module.to("cpu")


class PushCheckpoints(TrainerCallback):
    """Pushes each checkpoint to the Hub when it is saved. A failed push does not end the training."""

    def __init__(self, keys: HubKeys):
        self._keys = keys

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            try:
                push_checkpoint(folder, self._keys)
            except UserError as error:
                warn(f"{folder.name} was not pushed: {error}")


class RestoreIntervals(TrainerCallback):
    """Makes a resumed run save, evaluate and log at the intervals given now, not those of its checkpoint."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        state.compute_steps(args, state.max_steps)


@dataclass(frozen=True)
class Best:
    """The best of the evaluations so far."""

    step: int
    value: float


def best_of(
    rows: Sequence[Mapping[str, Any]], name: str, *, greater: bool, among: Collection[int] | None
) -> Best | None:
    """The best value of a measure in logged rows, the earliest of equal ones; None if there is none.
    `among`: only these steps count."""
    found = [
        Best(row["step"], row[name])
        for row in rows
        if row.get(name) is not None
        and math.isfinite(row[name])
        and (among is None or row["step"] in among)
    ]
    return max(found, key=lambda b: (b.value if greater else -b.value, -b.step), default=None)


class BestCheckpoint(TrainerCallback):
    """Finds the best checkpoint from the logged rows and the checkpoints that exist. The library stores a
    path, which is wrong once the folder is moved, and ignores evaluations from before eval.best was set."""

    def __init__(self, folder: Path, name: str, *, greater: bool):
        """`name`: the measure's name in logged rows."""
        self._folder, self._name, self._greater = folder, name, greater

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        there = {step_of(p): p for p in complete_checkpoints(self._folder)}
        best = best_of(state.log_history, self._name, greater=self._greater, among=there.keys())
        state.best_metric = None if best is None else best.value
        state.best_global_step = None if best is None else best.step
        state.best_model_checkpoint = None if best is None else str(there[best.step])

    on_save = on_train_begin

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if self._name in given.get("logs", {}):  # no other row can change it
            self.on_train_begin(args, state, control)


class RemoveOldCheckpoints(TrainerCallback):
    """Keeps at most `keep` checkpoints, by step. The library goes by file time."""

    def __init__(self, folder: Path, keep: int):
        self._folder, self._keep = folder, keep

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            best = state.best_model_checkpoint
            remove_oldest(self._folder, self._keep, None if best is None else Path(best))


class RunPage(TrainerCallback):
    """Rewrites the run's HTML page at each checkpoint and at the end. A failure is only a warning."""

    def __init__(self, folder: Path, held: Dataset | None):
        self._folder, self._held = folder, held

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not control.should_training_stop:  # else it is written at the end, which follows
            self._write(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._write(state)

    def _write(self, state: TrainerState) -> None:
        if state.is_world_process_zero:
            try:
                write_page(self._folder, self._held)
            except Exception as error:  # noqa: BLE001 - a picture is no reason to stop
                warn(f"note: {PAGE} was not written ({type(error).__name__}: {first_line(error)})")


class RestoreSamplerEpoch(TrainerCallback):
    """Sets the sampler's epoch after a resume. In the middle of an epoch on several devices, accelerate's
    skipping loader does not pass the epoch on to the sampler."""

    def __init__(self, order: Order):
        self._order = order

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        batches = len(given["train_dataloader"])
        steps = max(1, math.ceil(batches / args.gradient_accumulation_steps))
        self._order.set_epoch(state.global_step // steps)


def add_callbacks(
    trainer: Trainer,
    config: TrainConfig,
    order: Order | None,
    held: Dataset | None,
    output: Path,
    from_step: int,
) -> tuple[Tracker, ...]:
    """Add the callbacks of a run; returns the trackers."""
    first = trainer.is_world_process_zero()
    tracker = tracker_of(config.log, output, from_step, first=first)
    trackers = () if tracker is None else (tracker,)
    best = trainer.args.metric_for_best_model
    added: list[TrainerCallback] = [*trackers, MetricsFile(output), RestoreIntervals()]
    if best is not None:
        greater = bool(trainer.args.greater_is_better)
        added.append(BestCheckpoint(output, best, greater=greater))
    added += [RemoveOldCheckpoints(output, config.train.keep_checkpoints), RunPage(output, held)]
    if order is not None:
        added.append(RestoreSamplerEpoch(order))
    if config.leaves_tower_out(trainer.accelerator.num_processes):
        added.append(OffloadVisionTower())
    if config.hub.checkpoints:
        added.append(PushCheckpoints(config.hub))
    for callback in added:
        trainer.add_callback(callback)
    return trackers
