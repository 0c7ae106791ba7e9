"""What happens beside the training loop: the local log, and an epoch's number after a resume."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.errors import UserError, first_line, warn
from data.storage import write_atomically
from train.batches.samplers import Order
from train.evaluation.report.run_page import PAGE, write_page
from train.hub.push import push_checkpoint
from train.run.files import METRICS, SAMPLES, json_text, read_rows
from train.run.folder import complete_checkpoints, remove_oldest, step_of
from train.sections import HubKeys


class MetricsFile(TrainerCallback):
    """Every logged row, as one JSON line in the run folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A resumed run repeats the steps after its checkpoint: their old rows go."""
        if state.is_world_process_zero:
            for name in (METRICS, SAMPLES):
                _forget_after(self._folder / name, state.global_step)

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


def _forget_after(path: Path, step: int) -> None:
    if path.exists():
        # the summary of a run whose end was cut off is written anew
        rows = [r for r in read_rows(path) if r["step"] <= step and "train_runtime" not in r]
        kept = [json_text(row, indent=None) for row in rows]
        write_atomically(path, "".join(kept))


class OffloadVisionTower(TrainerCallback):
    """With cached features nobody looks through the vision tower: it need not be on the GPU."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        for name, module in given["model"].named_modules():
            if name.endswith("model.vision_model"):
                module.to("cpu")


class PushCheckpoints(TrainerCallback):
    """Each checkpoint to the Hub as it is saved; a Hub that is away does not end the training."""

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
    """A resumed run saves, evaluates and logs as it is told now, not as its checkpoint remembers."""

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
    """The best value of a measure in logged rows, the earliest of equal ones. `among`: these steps only."""
    found = [
        Best(row["step"], row[name])
        for row in rows
        if row.get(name) is not None
        and math.isfinite(row[name])
        and (among is None or row["step"] in among)
    ]
    return max(found, key=lambda b: (b.value if greater else -b.value, -b.step), default=None)


class BestCheckpoint(TrainerCallback):
    """Which checkpoint is best, from what was logged and what is there. The library remembers a path,
    which a moved folder loses, and nothing of what was evaluated before one was asked for."""

    def __init__(self, folder: Path, name: str, *, greater: bool):
        """`name`: of the measure in logged rows."""
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
    """At most so many checkpoints, by their steps; the library goes by the clock."""

    def __init__(self, folder: Path, keep: int):
        self._folder, self._keep = folder, keep

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            best = state.best_model_checkpoint
            remove_oldest(self._folder, self._keep, None if best is None else Path(best))


class RunPage(TrainerCallback):
    """The run's page anew with each checkpoint, and at the end; it only shows, and may fail."""

    def __init__(self, folder: Path, held: Dataset | None):
        self._folder, self._held = folder, held

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            try:
                write_page(self._folder, self._held)
            except Exception as error:  # noqa: BLE001 - a picture is no reason to stop
                warn(f"note: {PAGE} was not written ({type(error).__name__}: {first_line(error)})")

    on_train_end = on_save


class RestoreSamplerEpoch(TrainerCallback):
    """Resumed in the middle of an epoch on several devices, accelerate's skipping loader does not
    hand the epoch on to the sampler."""

    def __init__(self, order: Order):
        self._order = order

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        batches = len(given["train_dataloader"])
        steps = max(1, math.ceil(batches / args.gradient_accumulation_steps))
        self._order.set_epoch(state.global_step // steps)
