"""What happens beside the training loop: the local log, and an epoch's number after a resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.config import UserError
from data.storage import write_atomically
from train.config import HubKeys
from train.hub.push import push_checkpoint
from train.messages import METRICS, SAMPLES, read_rows, warn
from train.order import Order
from train.run_page import write_page


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
                file.write(json.dumps(row) + "\n")


def _forget_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [f"{json.dumps(row)}\n" for row in read_rows(path) if row["step"] <= step]
        write_atomically(path, "".join(kept))


class TowerAway(TrainerCallback):
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


class RunPage(TrainerCallback):
    """The run's page anew with each checkpoint, and at the end."""

    def __init__(self, folder: Path, held: Dataset | None):
        self._folder, self._held = folder, held

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            write_page(self._folder, self._held)

    on_train_end = on_save


class RightEpoch(TrainerCallback):
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
