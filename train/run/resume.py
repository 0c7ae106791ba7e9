"""What a resumed run must share with its beginning, and what it may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from data.errors import UserError
from data.storage import write_atomically
from train.config import TrainConfig
from train.console import say
from train.run.files import METRICS, RECORD, SAMPLES, read_json
from train.run.folder import CONFIG, RunFolder, remove_half_written, step_of
from train.run.held_out import read_held_out, write_held_out
from train.run.keys import ConfigT, completed, flat_keys, keys_of, nested
from train.run.state import (
    Ordering,
    Part,
    RunState,
    devices,
    ordering,
    read_state,
    versions,
    write_state,
)
from train.sections import ModelKeys, TrainKeys

if TYPE_CHECKING:
    from data.prepared.dataset import Prepared

KEYS_FIXED_AT_RESUME = ("model.", "lora.", "train.method", "optim.name", "prefer.", "pairs")
"""Keys that must stay: with other values the saved weights or optimizer states would not fit."""
KEYS_KEPT_AT_RESUME = (
    "data.eval_share",
    "data.eval_max",
    "data.target",
    "data.prompt",
    "data.system",
    "data.max_tokens",
    "data.stream",
    "data.shuffle_buffer",
    "train.pack",
    "train.pack_tokens",
    "train.seed",
)
"""Keys that should stay: with other values samples would be seen twice, or never, or were held out before."""
KEYS_PER_START = ("train.resume", "train.force", "train.output")
"""Keys of a single start, which a resumed run does not take over."""


@dataclass(frozen=True)
class Start:
    """The point from which a run starts."""

    folder: Path | None
    """None: its name is chosen when it is claimed."""
    checkpoint: Path | None = None
    """None: from the beginning."""
    before: RunState | None = None
    """State of the run that is resumed; None for a new run, or if an older version stored none."""

    @property
    def step(self) -> int:
        return 0 if self.checkpoint is None else step_of(self.checkpoint)


def restore_keys(config: ConfigT, found: RunFolder) -> tuple[ConfigT, Start]:
    """The keys of a run and its start. A resumed run keeps its own keys, except for those given now.

    Raises:
        UserError: the keys conflict.
    """
    if not config.train.resume:
        return config, Start(found.path)
    assert found.path is not None
    state = read_state(found.path)
    own = keys_of(found.path, state.parts if state else ())
    own = {key: value for key, value in own.items() if key not in KEYS_PER_START}
    begun, now = (
        "train/prefer.py" if after_sft else "train/sft.py"
        for after_sft in ("prefer.method" in own, "prefer" in type(config).model_fields)
    )
    if begun != now:
        raise UserError(
            f"train.resume=true: {found.path} was begun by {begun}; resume it with that"
        )
    config = completed(config, own, f"train.resume=true with the keys of {found.path / CONFIG}")
    if not found.checkpoints:
        say(f"note: {found.path} was stopped before its first checkpoint: it begins again")
        return config, Start(found.path)
    return config, Start(found.path, found.checkpoints[-1], state)


def finished_results(found: RunFolder, keys: TrainKeys) -> dict[str, Any]:
    """The results of a finished run, which stays as it is.

    Raises:
        UserError: more steps are asked for.
    """
    assert found.path is not None
    results: dict[str, Any] = read_json(found.path / RECORD).get("results", {})
    done = results.get("steps", found.last_step)
    name = found.path
    on = f"model.name={name} train.output=… goes on from it"
    own = keys_of(found.path, ())
    for key in ("steps", "epochs"):
        more, had = getattr(keys, key), own.get(f"train.{key}") or 0
        if key in keys.model_fields_set and more is not None and more > had:
            raise UserError(
                f"train.{key}={more:g}: {name} is finished after {done} steps and stays as it is; {on}"
            )
    say(f"{name} is finished after {done} steps: nothing to resume, nothing written; {on}")
    return results


# --- what must be the same -------------------------------------------------------------------


def check_same(config: TrainConfig, start: Start, dataset: Prepared) -> Ordering:
    """Check that a resumed run continues the same run, and print what else has changed. Returns what
    determines the order of samples, as it was when the run began.

    Raises:
        UserError: other weights, other data or another number of videos per step.
    """
    if start.checkpoint is None:
        return ordering(config.train, config.data, devices())
    assert start.folder is not None
    before, now = (
        keys_of(start.folder, start.before.parts if start.before else ()),
        flat_keys(config),
    )
    differences = {
        key: f"{key}={now[key]} where it began with {value}"
        for key, value in before.items()
        if key in now and now[key] != value and key not in KEYS_PER_START
    }
    if misfits := [
        line for key, line in differences.items() if key.startswith(KEYS_FIXED_AT_RESUME)
    ]:
        raise UserError(
            f"train.resume=true: {', '.join(misfits)}; give the keys of {start.folder / CONFIG}"
        )
    wrong = [line for key, line in differences.items() if key in KEYS_KEPT_AT_RESUME]
    order = ordering(config.train, config.data, devices())
    if start.before is not None:
        wrong += _data_differences(config.train, start.before, order, dataset)
        order = order if wrong else start.before.order
    if wrong and not config.train.force:
        raise UserError(
            f"train.resume=true: {'; '.join(wrong)}: some samples would be seen twice and others never, or "
            "held-out ones were trained on; correct that, or start a new run (train.force=true resumes anyway)"
        )
    notes = list(dict.fromkeys([*wrong, *differences.values(), *_other_versions(start.before)]))
    if notes:
        say(f"note: resumed with {', '.join(notes)}")
    return order


def _data_differences(
    keys: TrainKeys, before: RunState, order: Ordering, dataset: Prepared
) -> list[str]:
    """Differences that no key shows: another dataset, or another number of videos per step."""
    wrong = []
    if dataset.sha256 != before.dataset_sha256:
        wrong.append(f"data.path={dataset.path} is not the dataset it began with (prepared anew?)")
    if order.marks_sha256 != before.order.marks_sha256:
        wrong.append("data.marks is not the file it began with")
    if order.step != before.order.step:
        rows = "rows" if keys.pack else "videos"
        accumulate, rest = divmod(before.order.step, keys.batch * devices())
        same = (
            f" (train.accumulate={accumulate} makes it the same)" if accumulate and not rest else ""
        )
        wrong.append(
            f"train.batch={keys.batch} × train.accumulate={keys.accumulate} × {devices()} "
            f"devices = {order.step} {rows} a step where it began with {before.order.step}{same}"
        )
    return wrong


def _other_versions(before: RunState | None) -> list[str]:
    """Packages whose version has changed."""
    had = before.parts[-1].versions if before is not None and before.parts else {}
    return [
        f"{name} {number} where it began with {had[name]}"
        for name, number in versions().items()
        if had.get(name, number) != number
    ]


def pinned_base(base: ModelKeys, start: Start) -> ModelKeys:
    """The base model of a run. A resumed run keeps the commit it began with, even if a branch moved on."""
    if start.before is None:
        return base
    return base.model_copy(update={"revision": start.before.revision})


def state_of(
    config: TrainConfig,
    start: Start,
    dataset: Prepared,
    order: Ordering,
    base: ModelKeys,
    device: str,
    steps: int,
    lineage: Sequence[Mapping[str, Any]] = (),
) -> RunState:
    """The state to store from now on. Parts whose steps are repeated are dropped."""
    kept = tuple(p for p in start.before.parts if p.from_step < start.step) if start.before else ()
    changed: dict[str, Any] = {}
    if start.folder is not None and kept:
        was = keys_of(start.folder, kept)
        changed = {
            key: value
            for key, value in flat_keys(config).items()
            if was.get(key, value) != value and key not in KEYS_PER_START
        }
    part = Part(start.step, changed, device, devices(), versions())
    return RunState(
        dataset_sha256=dataset.sha256,
        order=order,
        base=base.name,
        revision=base.revision,
        steps=steps,
        parts=(*kept, part),
        went_on_from=tuple(lineage),
    )


def write_start(
    output: Path, config: TrainConfig, state: RunState, start: Start, held_out: Sequence[str]
) -> None:
    """Write keys, held-out ids and state of a run that begins or is resumed; incomplete checkpoints are
    removed.

    Raises:
        UserError: the folder cannot be written to.
    """
    before = None if start.checkpoint is None else read_held_out(output)
    try:
        remove_half_written(output)
        if start.checkpoint is None:
            settings = nested({**flat_keys(config), "train.resume": False, "train.force": False})
            text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
            write_atomically(output / CONFIG, text)
            for name in (METRICS, SAMPLES):
                (output / name).unlink(missing_ok=True)
        write_held_out(held_out, output, before=before)
        write_state(output, state)
    except OSError as error:
        raise UserError(f"train.output={output}: cannot be written ({error.strerror})") from None
