"""What a resumed run must share with its beginning, and what it may change.

`run_state.json`, written when a run begins, says what the order of samples follows from: the data, how
many videos make a step, how they are dealt. A part is added each time the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import ValidationError

from data.config import UserError, resolved, this_python
from data.storage import write_atomically
from train.config import ModelKeys, TrainConfig
from train.messages import RECORD, STATE, json_text, read_json, say
from train.run.folder import CONFIG, RunFolder

if TYPE_CHECKING:
    from data.prepared.dataset import Prepared

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
Kind = Literal["plain", "grouped", "packed", "streamed"]
FITS_NOT = ("model.", "lora.", "train.method", "optim.name")
"""Other values of these, and the saved weights or states would not fit."""
SEES_OTHERWISE = (
    "data.eval_share", "data.eval_max", "data.target", "data.prompt", "data.system", "data.max_tokens",
    "data.stream", "data.buffer", "train.pack", "train.pack_tokens", "train.seed",
)  # fmt: skip
"""Other values of these, and samples would be seen twice, or never, or were held out before."""
OF_A_START = ("train.resume", "train.force")
"""Said anew with each start."""


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


def ordering(config: TrainConfig, devices: int) -> Ordering:
    """Of a new run."""
    train = config.train
    if train.pack:
        kind: Kind = "packed"
    elif config.data.stream:
        kind = "streamed"
    else:
        kind = "grouped" if train.batch > 1 else "plain"
    lanes = devices * max(1, config.data.workers)
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
    parts: tuple[Part, ...] = field(default=())


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


# --- keys ------------------------------------------------------------------------------------


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        found |= inner or {prefix + name: value}
    return found


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in keys.items():
        *sections, leaf = key.split(".")
        at = found
        for name in sections:
            at = at.setdefault(name, {})
        at[leaf] = value
    return found


def keys_of(folder: Path, parts: tuple[Part, ...]) -> dict[str, Any]:
    """Of a run as it was after those parts, by their dotted names."""
    file = folder / CONFIG
    try:
        keys = flat(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read ({error}); it says what the run began with") from None  # fmt: skip
    for part in parts:
        keys |= part.changed
    return keys


def restored(config: TrainConfig, found: RunFolder, state: RunState | None) -> TrainConfig:
    """The keys of the run, and instead of them what is given now.

    Raises:
        UserError: they do not go together.
    """
    assert found.path is not None
    own = keys_of(found.path, state.parts if state else ())
    own = {key: value for key, value in own.items() if key not in OF_A_START}
    given = flat(config.model_dump(by_alias=True, exclude_unset=True))
    try:
        return TrainConfig.model_validate(nested({**own, **given}))
    except ValidationError as error:
        line = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"train.resume=true with the keys of {found.path / CONFIG}: {line}") from None  # fmt: skip


def plain(config: TrainConfig) -> dict[str, Any]:
    """Keys as YAML and JSON hold them, by their dotted names."""
    return flat(json.loads(json.dumps(resolved(config))))


def finished(found: RunFolder, config: TrainConfig) -> dict[str, Any]:
    """A run that has ended stays as it is; returns its results.

    Raises:
        UserError: more steps are asked for.
    """
    assert found.path is not None
    results: dict[str, Any] = read_json(found.path / RECORD).get("results", {})
    done = results.get("steps", found.last_step)
    whole = (found.path / "config.json").is_file()
    python, name = this_python(), found.path
    on = (
        f"model.name={name} train.output=… goes on from it"
        if whole
        else f"{python} scripts/merge.py adapter={name} out=merged/{name.name}, then model.name=merged/{name.name} "
        "train.output=… goes on from it"
    )
    own = keys_of(found.path, ())
    for key in ("steps", "epochs"):
        more, had = getattr(config.train, key), own.get(f"train.{key}") or 0
        if key in config.train.model_fields_set and more is not None and more > had:
            raise UserError(
                f"train.{key}={more:g}: {name} is finished after {done} steps and stays as it is; {on}"
            )
    say(f"{name} is finished after {done} steps: nothing to resume, nothing written; {on}")
    return results


# --- what must be the same -------------------------------------------------------------------


def check_same(
    config: TrainConfig, found: RunFolder, state: RunState | None, dataset: Prepared
) -> None:
    """Refuse what would not go on with the run but begin something else under its name; say what
    else is not as before.

    Raises:
        UserError: other weights, other data or another number of videos a step.
    """
    assert found.path is not None
    before, now = keys_of(found.path, state.parts if state else ()), plain(config)
    told = {
        key: f"{key}={now[key]} where it began with {value}"
        for key, value in before.items()
        if key in now and now[key] != value and key not in OF_A_START
    }
    if misfits := [line for key, line in told.items() if key.startswith(FITS_NOT)]:
        raise UserError(
            f"train.resume=true: {', '.join(misfits)}; give the keys of {found.path / CONFIG}"
        )
    wrong = [line for key, line in told.items() if key in SEES_OTHERWISE]
    if state is not None:
        if dataset.sha256 != state.dataset_sha256:
            wrong.append(f"data.path={dataset.path} is not the dataset it began with (prepared anew?)")  # fmt: skip
        step = config.train.batch * config.train.accumulate * devices()
        if step != state.order.step:
            rows = "rows" if config.train.pack else "videos"
            wrong.append(
                f"train.batch={config.train.batch} × train.accumulate={config.train.accumulate} × {devices()} "
                f"devices = {step} {rows} a step where it began with {state.order.step}"
            )
        told |= {
            f"version of {name}": f"{name} {now_} where it began with {state.parts[-1].versions.get(name)}"
            for name, now_ in versions().items()
            if state.parts and state.parts[-1].versions.get(name) != now_
        }
    if wrong and not config.train.force:
        raise UserError(
            f"train.resume=true: {'; '.join(wrong)}: some samples would be seen twice and others never, or "
            "held-out ones were trained on; mend that, or start a new run (train.force=true goes on all the same)"
        )
    notes = [*(w for w in wrong if w not in told.values()), *told.values()]
    if notes:
        say(f"note: resumed with {', '.join(notes)}")


def state_of(
    config: TrainConfig, found: RunFolder, before: RunState | None, dataset: Prepared,
    base: ModelKeys, device: str, steps: int,
) -> RunState:  # fmt: skip
    """What is to be remembered from now on. Parts whose steps are done again go."""
    order = before.order if before else ordering(config, devices())
    if before and config.train.force:
        order = replace(order, step=config.train.batch * config.train.accumulate * devices())
    kept = tuple(p for p in before.parts if p.from_step < found.last_step) if before else ()
    changed: dict[str, Any] = {}
    if found.path is not None and kept:
        was = keys_of(found.path, kept)
        changed = {
            key: value
            for key, value in plain(config).items()
            if was.get(key, value) != value and key not in OF_A_START
        }
    part = Part(found.last_step, changed, device, devices(), versions())
    return RunState(
        dataset_sha256=dataset.sha256,
        order=order,
        base=base.name,
        revision=base.revision,
        steps=steps,
        parts=(*kept, part),
    )


def begin(output: Path, config: TrainConfig, state: RunState, *, resumed: bool) -> None:
    """Write down how a run begins, or goes on.

    Raises:
        UserError: the folder cannot be written to.
    """
    try:
        if not resumed:
            settings = nested({**plain(config), "train.resume": False, "train.force": False})
            text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
            write_atomically(output / CONFIG, text)
        write_state(output, state)
    except OSError as error:
        raise UserError(f"train.output={output}: cannot be written ({error.strerror})") from None
