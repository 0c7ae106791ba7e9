"""Going on from a run: `model.name` is not a base model but what an earlier training made of one.

A whole model is trained on. An adapter goes on as the same adapter, on its own base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.config import resolved
from data.errors import UserError, this_python
from data.hub import hub_errors
from train.model.lora_targets import CONNECTOR, LORA_TARGETS
from train.run.files import POLICY_FILE, STATE, read_json
from train.run.folder import CONFIG
from train.run.keys import ConfigT, completed, flat, keys_of
from train.run.policy import QUESTION, RunPolicy
from train.run.saved import SavedRun, read_run, run_of
from train.run.state import read_state
from train.sections import ModelKeys

ADAPTER = "adapter_config.json"
PUBLISHED = "HuggingFaceTB/"
"""The base checkpoints: nobody needs to ask the Hub what they are."""
FIXED = ("r", "alpha", "targets", "connector", "dora", "rslora")
"""Keys of `lora` that an adapter cannot change."""


@dataclass(frozen=True)
class Origin:
    """The run that training goes on from."""

    name: str
    """As given."""
    run: SavedRun
    keys: Mapping[str, Any]
    """Its keys that training takes over, by their dotted names."""

    def base(self, model: ModelKeys) -> ModelKeys:
        """The checkpoint that is loaded first, with the precision and attention of `model`: an adapter's base, or the
        whole model."""
        found = {"name": self.run.base.name, "revision": self.run.base.revision}
        return model.model_copy(update=found)


def origin_of(model: ModelKeys, *, force: bool = False) -> Origin | None:
    """The run that `model.name` is, a folder or a name on the Hub; None if it is a base checkpoint. `force`: its model
    may differ from what was saved.

    Raises:
        UserError: the run has not ended, is not whole, or cannot be read.
    """
    if model.name == "tiny" or model.name.startswith(PUBLISHED) or not _is_run(model):
        return None
    on_hub = model.revision is not None and not Path(model.name).is_dir()
    name = f"{model.name}@{model.revision}" if on_hub else model.name
    run = read_run(name, force=force, key="model.name")
    folder = run_of(run.folder)
    keys: dict[str, Any] = {}
    if (folder / POLICY_FILE).is_file():
        keys = {f"data.{key}": getattr(run.data, key) for key in QUESTION}
    if run.is_adapter:
        state = read_state(folder)
        own = keys_of(folder, state.parts if state else ()) if (folder / CONFIG).is_file() else {}
        keys |= {key: own[key] for key in ("train.method", "model.tokens_a_frame") if key in own}
        keys |= _lora_keys(run, model.name)
    return Origin(model.name, run, keys)


def _is_run(model: ModelKeys) -> bool:
    """Whether a folder or a Hub repository holds an adapter or a run, and not a base checkpoint."""
    path = Path(model.name)
    if path.is_dir():
        marks = (path / ADAPTER, run_of(path) / POLICY_FILE, run_of(path) / STATE)
        return any(mark.is_file() for mark in marks)
    if model.name.count("/") != 1 or path.exists() or model.name.startswith((".", "/", "~")):
        return False  # `check_reachable` says what is wrong with it
    from huggingface_hub import HfApi, try_to_load_from_cache

    marked = (ADAPTER, POLICY_FILE)
    cached = [try_to_load_from_cache(model.name, m, revision=model.revision) for m in marked]
    if any(isinstance(file, str) for file in cached):
        return True
    try:
        with hub_errors(model.name, key="model.name", revision=model.revision):
            files = HfApi().model_info(model.name, revision=model.revision).siblings or []
            return any(file.rfilename in marked for file in files)
    except UserError:  # a base checkpoint may be in the cache all the same
        return False
    raise AssertionError("not reached")


def _lora_keys(run: SavedRun, name: str) -> dict[str, Any]:
    """The `lora` keys that an adapter was made with.

    Raises:
        UserError: it is of a kind that no keys describe.
    """
    about = read_json(run.folder / ADAPTER)
    targets = {regex: key for key, regex in LORA_TARGETS.items()}.get(
        str(about.get("target_modules"))
    )
    beside = about.get("modules_to_save")
    if about.get("peft_type") != "LORA" or targets is None or beside not in (None, [CONNECTOR]):
        raise UserError(
            f"model.name={name}: an adapter of another kind than scenescribe trains, so it cannot go on; "
            f"{_merge(name)} makes a whole model of it, which can"
        )
    return {
        "lora.r": about["r"],
        "lora.alpha": about["lora_alpha"],
        "lora.dropout": about["lora_dropout"],
        "lora.targets": targets,
        "lora.connector": beside is not None,
        "lora.dora": bool(about.get("use_dora")),
        "lora.rslora": bool(about.get("use_rslora")),
    }


def _merge(name: str) -> str:
    return (
        f"{this_python()} scripts/merge.py adapter={name} out=merged/{Path(name).name}  (then "
        f"model.name=merged/{Path(name).name})"
    )


def taken_over(config: ConfigT, origin: Origin | None) -> ConfigT:
    """The keys of a training that goes on from a run: those of the run where none are given.

    Raises:
        UserError: a given key would change the adapter.
    """
    if origin is None:
        return config
    if origin.run.is_adapter:
        given = flat(config.model_dump(by_alias=True, exclude_unset=True))
        fixed = ("train.method", "model.tokens_a_frame", *(f"lora.{key}" for key in FIXED))
        for key in fixed:
            own, asked = origin.keys.get(key), given.get(key)
            if key not in given or (asked == own and key in origin.keys):
                continue
            if key == "train.method" and own is None and asked != "full":
                continue  # made elsewhere: in 4 bits or not
            learned = f" and learned with {key}={own}" if key in origin.keys else ""
            raise UserError(
                f"{key}={asked}: model.name={origin.name} is an adapter{learned}, and goes on as it is; leave the key "
                f"out (a recipe may give it), or begin a new adapter on the merged model: {_merge(origin.name)}"
            )
    return completed(config, origin.keys, f"model.name={origin.name}, with the keys of that run")


def on_its_base(config: ConfigT) -> ConfigT:
    """The keys with what is taken over from a run, and in `model` the checkpoint that is loaded first.

    Raises:
        UserError: as `origin_of` and `taken_over`.
    """
    origin = origin_of(config.model)
    config = taken_over(config, origin)
    if origin is None:
        return config
    return config.model_copy(update={"model": origin.base(config.model)})


def learned_otherwise(origin: Origin, now: RunPolicy) -> str | None:
    """A line that says how the prompts and frames now differ from those that the run learned from; None if they do
    not, or if that is not known."""
    if not (run_of(origin.run.folder) / POLICY_FILE).is_file():
        return None
    before = origin.run.policy
    had, has = resolved(before.frames), resolved(now.frames)
    differ = [
        f"frames.{key}={had[key]} (now {has[key]})"
        for key in has
        if key != "selector" and had.get(key) != has[key]
    ]
    for key in (*QUESTION, "window_clock"):
        old, new = getattr(before.ask, key), getattr(now.ask, key)
        if old != new:
            differ.append(f"data.{key}={old} (now {new})")
    if before.speech_context != now.speech_context:
        differ.append(f"source.speech_context={str(before.speech_context).lower()}")
    return f"note: {origin.name} learned with {', '.join(differ)}" if differ else None
