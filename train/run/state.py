"""What a run has to remember of its beginning: `run_state.json`.

It says what the order of samples follows from: the data, how many videos make a step, how they are
dealt. A part is added each time the run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from data.errors import UserError
from data.storage import write_atomically
from train.run.files import STATE, json_text, read_json
from train.sections import DataKeys, TrainKeys

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
Kind = Literal["plain", "grouped", "packed", "streamed"]


@dataclass(frozen=True)
class Ordering:
    """What the order of samples follows from, beside the data and the seed. A resumed run has that of
    its beginning, however many devices and workers there are now."""

    kind: Kind
    step: int
    """Samples (packs of them) of one optimizer step on all devices."""
    batch: int
    lanes: int
    """Loader processes on all devices."""


def ordering(train: TrainKeys, data: DataKeys, devices: int) -> Ordering:
    """Of a new run."""
    if train.pack:
        kind: Kind = "packed"
    elif data.stream:
        kind = "streamed"
    else:
        kind = "grouped" if train.batch > 1 else "plain"
    lanes = devices * max(1, data.workers)
    return Ordering(kind, train.batch * train.accumulate * devices, train.batch, lanes)


@dataclass(frozen=True)
class Part:
    """A stretch of a run between two stops."""

    from_step: int
    changed: Mapping[str, Any]
    """Keys that are not as in the part before; of the first: none."""
    device: str
    devices: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class RunState:
    """What a run has to remember of its beginning, and its parts so far."""

    dataset_sha256: str
    order: Ordering
    base: str
    revision: str | None
    """The commit or name of the base model's weights."""
    steps: int
    """Of the whole run, as it was planned last."""
    parts: tuple[Part, ...] = ()


def read_state(folder: Path) -> RunState | None:
    """None where the run was begun by a version that kept none.

    Raises:
        UserError: the file is not one of ours.
    """
    file = folder / STATE
    if not file.is_file():
        return None
    told = read_json(file)
    try:
        order, parts = Ordering(**told.pop("order")), tuple(Part(**p) for p in told.pop("parts"))
        return RunState(**told, order=order, parts=parts)
    except (KeyError, TypeError):
        raise UserError(f"{file}: not the state of a run of this version") from None


def write_state(folder: Path, state: RunState) -> None:
    write_atomically(folder / STATE, json_text(asdict(state)))


def devices() -> int:
    """Processes of this run, one a device."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}
