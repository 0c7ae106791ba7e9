"""The run folder: its state, its lock and its checkpoints.

Nothing is written, and no finished run is moved, before all checks have passed. `inspect_run_folder`
only reads. `claimed` locks the folder until the run has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import UserError
from data.locks import OWNER, locked, owner_of
from train.console import say
from train.run.files import RECORD, STATE
from train.sections import TrainKeys

if TYPE_CHECKING:
    from accelerate import PartialState

CONFIG = "config.yaml"
"""The keys that a run began with: `recipe=<that file>` repeats it."""


@dataclass(frozen=True)
class RunFolder:
    """What is in a run folder."""

    path: Path | None
    """None: its name is chosen when it is claimed."""
    finished: bool
    begun: bool
    """A run began there, and may have been stopped before its first checkpoint."""
    checkpoints: tuple[Path, ...]
    """Complete ones, in the order of their steps."""

    @property
    def last_step(self) -> int:
        """Step of the last checkpoint; 0 if there is none."""
        return step_of(self.checkpoints[-1]) if self.checkpoints else 0


def inspect_run_folder(keys: TrainKeys, model: str) -> RunFolder:
    """The state of a run's folder; nothing is written.

    Raises:
        UserError: another run is writing there, there is nothing to resume, or a stopped run is there
            that should be resumed.
    """
    if keys.output is None:
        if keys.resume:
            raise UserError("train.resume=true: which run? set train.output to the run's folder")
        return RunFolder(None, finished=False, begun=False, checkpoints=())
    output = Path(keys.output)
    if output.exists() and not output.is_dir():
        raise UserError(f"train.output={output}: is a file; give a folder")
    # only the first process checks the lock: checks at the same time would disturb each other
    if os.environ.get("RANK", "0") == "0" and (owner := owner_of(output)) is not None:
        raise UserError(
            f"train.output={output}: another run is writing there ({owner}); let it end, or choose another folder"
        )
    found = _inspect(output)
    if keys.resume and not (found.checkpoints or found.finished or found.begun):
        raise UserError(
            f"train.resume=true: no run has begun in {output}, so there is nothing to resume and nothing is lost; "
            "leave train.resume=true out, or give another run's train.output"
        )
    if found.checkpoints and not found.finished and not keys.resume:
        raise UserError(
            f"train.output={output}: a stopped run with {found.checkpoints[-1].name}; continue it with "
            "train.resume=true, or choose another folder"
        )
    inside = Path(model).resolve().is_relative_to(output.resolve())
    if found.finished and not keys.resume and inside:
        raise UserError(
            f"train.output={output}: model.name={model} lies in it; choose another folder"
        )
    return found


def _inspect(output: Path) -> RunFolder:
    return RunFolder(
        output,
        finished=(output / RECORD).exists(),
        begun=(output / STATE).exists(),
        checkpoints=tuple(complete_checkpoints(output)),
    )


@contextmanager
def claimed(found: RunFolder, keys: TrainKeys, processes: PartialState) -> Iterator[Path]:
    """Lock the folder for this run until it ends; a finished run that was there is moved aside.

    Raises:
        UserError: another run claimed it first, or the folder cannot be made.
    """
    from accelerate.utils import broadcast_object_list

    processes.wait_for_everyone()  # all have inspected and read the folder, which may be moved now
    with ExitStack() as stack:
        output = found.path
        if processes.is_main_process:
            try:
                output = _claim(found, keys, stack)
            except OSError as error:
                where = keys.output or "runs"
                raise UserError(
                    f"train.output={where}: cannot be written ({error.strerror})"
                ) from None
        yield Path(broadcast_object_list([str(output)])[0])  # the first process chose its name


def _claim(found: RunFolder, keys: TrainKeys, stack: ExitStack) -> Path:
    if found.path is None:
        output = _new_folder(Path("runs"), keys.method)
        stack.enter_context(locked(output, f"train.output={output}"))
        return output
    output = found.path
    output.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context(ExitStack())
    lock.enter_context(locked(output, f"train.output={output}"))
    if _inspect(output) != found:
        raise UserError(
            f"train.output={output}: another run was there while this one started; start this one again"
        )
    if found.finished:
        aside = move_aside(output)
        lock.close()
        (aside / OWNER).unlink(missing_ok=True)  # our lock file, moved along
        output.mkdir()
        lock.enter_context(locked(output, f"train.output={output}"))
    return output


def _new_folder(parent: Path, method: str) -> Path:
    """Make a folder under a name that is not taken."""
    name = f"{method}-{time.strftime('%Y%m%d-%H%M%S')}"
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        output = parent / (name if number == 1 else f"{name}-{number}")
        try:
            output.mkdir()
        except FileExistsError:
            number += 1
        else:
            return output


def move_aside(folder: Path) -> Path:
    """Rename a folder to make room, and return its new path. Nothing is deleted."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    aside = folder.with_name(f"{folder.name}-before-{stamp}")
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{folder.name}-before-{stamp}-{number}")
    folder.rename(aside)
    say(f"what was in {folder} is now in {aside}")
    return aside


# --- checkpoints -----------------------------------------------------------------------------


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _numbered(output: Path) -> list[Path]:
    found = [p for p in output.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of)


def complete_checkpoints(output: Path) -> list[Path]:
    """Complete checkpoints, in the order of their steps. A checkpoint is complete if its
    `trainer_state.json` can be read: the library writes that file last."""
    found = []
    for folder in _numbered(output):
        with contextlib.suppress(OSError, ValueError):
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            found.append(folder)
    return found


def remove_half_written(output: Path) -> None:
    """Remove checkpoints that were half written, or half deleted, when a run was killed."""
    for folder in set(_numbered(output)) - set(complete_checkpoints(output)):
        shutil.rmtree(folder)


def remove_oldest(output: Path, keep: int, best: Path | None) -> None:
    """Remove checkpoints by step, not by file time, until `keep` are left. The last and the best stay."""
    whole = complete_checkpoints(output)
    kept = {*whole[-1:], *([best] if best is not None else [])}
    for folder in reversed(whole):
        if len(kept) < keep:
            kept.add(folder)
    for folder in whole:
        if folder not in kept:
            # incomplete from here on, even if a kill interrupts the deletion
            (folder / "trainer_state.json").unlink()
            shutil.rmtree(folder)
