"""`run_state.json`: what a resumed run has to know of its beginning.

It holds what determines the order of samples: the data, the number of videos per step, and how they
are distributed over loader processes. A part is added each time the run is resumed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from data.errors import UserError
from data.prepared.marks import read_marks
from data.storage import write_atomically
from train.run.files import STATE, json_text, read_json
from train.sections import DataKeys, TrainKeys

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
Kind = Literal["plain", "grouped", "packed", "streamed"]


@dataclass(frozen=True)
class Ordering:
    """What determines the order of samples, beside the data and the seed. A resumed run keeps that of its
    beginning, however many devices and workers there are now."""

    kind: Kind
    step: int
    """Samples (or packs of them) in one optimizer step on all devices."""
    batch: int
    lanes: int
    """Loader processes on all devices."""
    marks_sha256: str | None = None
    """Of the file of `data.marks`, which leaves samples out."""


def ordering(train: TrainKeys, data: DataKeys, devices: int) -> Ordering:
    """The ordering of a new run.

    Raises:
        UserError: `data.marks` cannot be read.
    """
    if train.pack:
        kind: Kind = "packed"
    elif data.stream:
        kind = "streamed"
    else:
        kind = "grouped" if train.batch > 1 else "plain"
    lanes = devices * max(1, data.workers)
    marks_sha256 = read_marks(data.marks, "data.marks").sha256
    step = train.batch * train.accumulate * devices
    return Ordering(kind, step, train.batch, lanes, marks_sha256)


@dataclass(frozen=True)
class Part:
    """A part of a run, from one start to the next stop."""

    from_step: int
    changed: Mapping[str, Any]
    """Keys that differ from the part before; none for the first part."""
    device: str
    devices: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class RunState:
    """What a resumed run has to know of its beginning, and the run's parts so far."""

    dataset_sha256: str
    order: Ordering
    base: str
    revision: str | None
    """The commit or name of the base model's weights."""
    steps: int
    """Optimizer steps of the whole run, as last planned."""
    parts: tuple[Part, ...] = ()
    went_on_from: tuple[Mapping[str, Any], ...] = ()
    """The runs that its weights come from, the nearest first (`train.run.lineage`)."""


def read_state(folder: Path) -> RunState | None:
    """The stored state; None if the run was begun by a version that stored none.

    Raises:
        UserError: the file is not a valid state.
    """
    file = folder / STATE
    if not file.is_file():
        return None
    stored = read_json(file)
    try:
        order, parts = (
            Ordering(**stored.pop("order")),
            tuple(Part(**p) for p in stored.pop("parts")),
        )
        went_on_from = tuple(stored.pop("went_on_from", ()))
        return RunState(**stored, order=order, parts=parts, went_on_from=went_on_from)
    except (KeyError, TypeError):
        raise UserError(
            f"{file}: not the state of a run of this version; go on with the version that wrote it, or give another "
            "train.output"
        ) from None


def write_state(folder: Path, state: RunState) -> None:
    write_atomically(folder / STATE, json_text(asdict(state)))


def devices() -> int:
    """Number of processes of this run, one per device."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}
