"""Experiment trackers, beside the files of the run folder. If a tracker fails, training continues."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from data.errors import UserError, first_line, warn
from train.console import say
from train.run.files import METRICS, read_rows
from train.sections import LogKeys


def check_tracker(keys: LogKeys) -> None:
    """Check that the tracker is installed.

    Raises:
        UserError: it is not.
    """
    if keys.to != "none" and find_spec(keys.to) is None:
        raise UserError(f"log.to={keys.to}: not installed; pip install -e '.[{keys.to}]'")


class Tracker(TrainerCallback):
    """A tracker callback of transformers, wrapped: it cannot end the training and gets no step twice."""

    def __init__(self, name: str, inner: TrainerCallback, has: int):
        """`has`: the last step whose rows it got before the run was stopped."""
        self.inner = inner
        self._name, self._has = name, has
        self._lost = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.attempt(lambda: self.inner.on_train_begin(args, state, control, **given))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if self.wants(state.global_step):
            self.attempt(lambda: self.inner.on_log(args, state, control, **given))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.attempt(lambda: self.inner.on_save(args, state, control, **given))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.attempt(lambda: self.inner.on_train_end(args, state, control, **given))

    def wants(self, step: int) -> bool:
        return step > self._has

    def lost(self, error: Exception) -> None:
        """Warn once that the tracker's curve has a gap."""
        if not self._lost:
            warn(
                f"note: log.to={self._name}: {type(error).__name__}: {first_line(error)}; its curve has a gap, "
                f"training goes on, and {METRICS} has every row"
            )
        self._lost = True

    def attempt(self, call: Callable[[], Any]) -> None:
        """Call the tracker. An exception is only a warning, and only once."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises is no reason to stop
            self.lost(error)


def tracker_of(keys: LogKeys, output: Path, step: int, *, first: bool) -> Tracker | None:
    """The tracker of `log.to`; None without one. wandb without a login logs offline, and says so.

    Args:
        step: step of the checkpoint that is resumed; 0 for a new run.
        first: this is the first process, which alone writes.
    """
    if keys.to == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter  # an extra

        folder = str(output / "tensorboard")
        # drop what a stopped run wrote for later steps: they are repeated
        writer = SummaryWriter(folder, purge_step=step + 1 if step else 0) if first else None
        return Tracker(keys.to, TensorBoardCallback(writer), has=-1)
    if keys.to == "trackio":
        has = max((row["step"] for row in read_rows(output / METRICS)), default=-1) if step else -1
        return Tracker(keys.to, TrackioCallback(), has=has)
    if keys.to == "wandb":
        tracker = Tracker(keys.to, WandbCallback(), has=-1)
        if first:
            tracker.attempt(lambda: _start_wandb(keys, output))
        return tracker
    return None


def _start_wandb(keys: LogKeys, output: Path) -> None:
    """Start a wandb run, unless the caller has started one. An earlier run of ours is finished."""
    import wandb

    if wandb.run is not None and wandb.run.id in _OURS:
        wandb.finish()
    if wandb.run is not None:
        return
    folder = os.environ.get("WANDB_DIR", str(output))
    if os.environ.get("WANDB_DATA_DIR") in (None, *_STAGED):
        # staging folder of images: by default wandb leaves those of an offline run in the user's home
        os.environ["WANDB_DATA_DIR"] = f"{folder}/wandb"
        _STAGED.add(os.environ["WANDB_DATA_DIR"])
    mode: Any = os.environ.get("WANDB_MODE")  # passed on: wandb reads the environment only once
    why = None
    if mode is None:
        try:  # wandb finds its API keys itself, and knows that a self-hosted server has its own key
            why = None if wandb.login(prompt=False, verify=False) else "not logged in"
        except Exception as error:  # noqa: BLE001 - an invalid key is no reason to stop
            why = first_line(error)
        mode = None if why is None else "offline"
    begun = wandb.init(
        project=os.environ.get("WANDB_PROJECT", keys.project),
        dir=folder,
        name=output.name,
        mode=mode,
    )
    _OURS.add(begun.id)
    if why is not None:
        say(f"wandb: {why}, so offline; `wandb sync {Path(begun.dir).parent}` sends it later")


_OURS: set[str] = set()
"""Ids of wandb runs that were started here: a notebook trains several times in one process."""
_STAGED: set[str] = set()
"""Staging folders that were set here, not by the user."""
