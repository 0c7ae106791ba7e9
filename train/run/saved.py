"""Read a run folder: base model, frame policy, prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError, warn
from data.locks import owner_of
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICY_VERSION
from train.run.files import BASE, POLICY_FILE, RECORD, STATE, read_json
from train.run.folder import complete_checkpoints
from train.run.from_hub import folder_of
from train.run.policy import RunPolicy, read_policy
from train.run.state import read_state
from train.sections import DataKeys, ModelKeys


@dataclass(frozen=True)
class SavedRun:
    """A run folder as read back."""

    folder: Path
    base: ModelKeys
    is_adapter: bool
    policy: RunPolicy
    """The frame policy and the prompt."""
    is_trained: bool = True
    """False: an untrained checkpoint, which only gets the frames and the prompt of a run."""
    longest_answer: int | None = None
    """Tokens of the longest answer in training; None if unknown."""
    trained_on: str | None = None
    """The recorded base model of an adapter, whatever `base` is; None if unknown."""
    force: bool = False
    """Use the model even if it differs from what was saved."""
    own_words: Mapping[str, int] = field(default_factory=dict)
    """Number of training samples with a prompt, system or context text of their own."""

    @property
    def frames(self) -> FrameKeys:
        return self.policy.frames

    @property
    def data(self) -> DataKeys:
        """The target, instruction and system turn that the run learned."""
        return self.policy.ask


def read_run(
    folder: str | Path, base: str | None = None, *, force: bool = False, key: str = "adapter"
) -> SavedRun:
    """Read base model, policy and prompt of a run, from a folder or by its name on the Hub. `base`
    overrides the recorded base model; `force` lets the model differ from what was saved; `key` is the setting that
    names the run.

    Raises:
        UserError: there is no run, or parts of it are missing.
    """
    path = folder_of(str(folder), key)
    _check_ended(path, str(folder), key)
    is_adapter = (path / "adapter_config.json").is_file()
    if not is_adapter and not (path / "config.json").is_file():
        raise UserError(
            f"{key}={folder}: holds neither an adapter nor a model; did the run finish?"
        )
    if is_adapter and not (path / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{key}={folder}: no adapter_model.safetensors (pickled weights are not loaded)"
        )
    if base is not None and not is_adapter:
        raise UserError(f"model.name={base}: {folder} is a whole model, it needs no base")
    trained_on = None
    if not is_adapter:
        base = str(path)
    else:
        stored = read_json(path / "adapter_config.json").get("base_model_name_or_path") or ""
        trained_on = str(path / "base") if (path / BASE / "config.json").is_file() else stored
        base = trained_on if base is None else base
        if not base:
            raise UserError(
                f"{key}={folder}: does not say what its base model is"
                + ("; give model.name" if key == "adapter" else "")
            )
    policy = policy_of(path)
    record = record_of(path)
    return SavedRun(
        folder=path,
        base=ModelKeys(
            name=base,
            revision=_revision(path, base),
            tokens_a_frame=policy.tokens_a_frame
            if is_adapter
            else None,  # a whole model has its own
        ),
        is_adapter=is_adapter,
        policy=policy,
        trained_on=trained_on or None,
        force=force,
        longest_answer=record.get("longest_answer"),
        own_words=(record.get("dataset") or {}).get("own_words") or {},
    )


def _check_ended(path: Path, shown: str, key: str) -> None:
    """Check that a run has ended.

    Raises:
        UserError: it is still being trained, or was stopped.
    """
    if (path / RECORD).is_file() or not (path / STATE).is_file():
        return
    whole = complete_checkpoints(path)
    instead = f"; {key}={whole[-1]} is its last checkpoint" if whole else ""
    if (owner := owner_of(path)) is not None:
        raise UserError(f"{key}={shown}: is still being trained ({owner}){instead}")
    raise UserError(
        f"{key}={shown}: its training was stopped; train.resume=true train.output={shown} continues it{instead}"
    )


def run_of(path: Path) -> Path:
    """The run folder that a checkpoint belongs to; any other folder is returned as it is."""
    inside = path.name.startswith("checkpoint-") and (path.parent / STATE).is_file()
    return path.parent if inside else path


def record_of(path: Path) -> dict[str, Any]:
    """The content of `run.json`; empty if there is none."""
    file = run_of(path) / RECORD
    return read_json(file) if file.is_file() else {}


def _revision(path: Path, base: str) -> str | None:
    """Revision of the base model: from the run's record, its state if it has no record, or peft's file."""
    run = run_of(path)
    stored = record_of(path)
    if stored and base == stored.get("base"):
        return stored.get("revision")
    state = read_state(run)
    if state is not None and base in (state.base, str(run / BASE)):
        return state.revision
    about = path / "adapter_config.json"
    stored = read_json(about) if about.is_file() else {}
    return stored.get("revision") if base == stored.get("base_model_name_or_path") else None


def base_of(run: SavedRun) -> SavedRun:
    """The base model of a run, with its own tokens a frame, and the run's frame policy and prompt.

    Raises:
        UserError: it is not recorded, or gone.
    """
    base = run.base.model_copy(update={"tokens_a_frame": None})
    if not run.is_adapter:
        stored = record_of(run.folder)
        name = stored.get("base")
        if not isinstance(name, str):
            raise UserError(f"base=true: {run.folder} does not say which model it was trained from")
        if name == BASE:  # the tiny model, built into the run
            name = str(run.folder / BASE)
        base = ModelKeys(name=name, revision=stored.get("revision"))
    return SavedRun(Path(base.name), base, False, run.policy, is_trained=False)


def untrained(model: ModelKeys, policy: RunPolicy) -> SavedRun:
    """An untrained checkpoint with the frame policy of a prepared dataset."""
    return SavedRun(Path(model.name), model, False, policy, is_trained=False)


def trained_on(run: SavedRun) -> dict[str, Any]:
    """The recorded dataset of a run, or of a checkpoint in one; empty if nothing is recorded."""
    stored = record_of(run.folder).get("dataset")
    if isinstance(stored, dict):
        return stored
    state = read_state(run_of(run.folder))
    return {} if state is None else {"sha256": state.dataset_sha256}


def policy_of(path: Path) -> RunPolicy:
    """The frame policy and prompt of a run; warns if they are unknown or may have changed.

    Raises:
        UserError: it cannot be read.
    """
    run = run_of(path)
    if not (run / POLICY_FILE).is_file():
        assumed = RunPolicy(FrameKeys(), DataKeys(window_clock="own"))
        warn(
            f"note: {run / POLICY_FILE} is missing, so how its frames were chosen is unknown; assuming "
            f"frames.policy={assumed.frames.policy} frames.max={assumed.frames.max} and the timeline instruction"
        )
        return assumed
    policy = read_policy(run)
    if policy.version != POLICY_VERSION:
        warn(
            f"note: {run / POLICY_FILE}: version {policy.version} of the frame policies, this is {POLICY_VERSION}: "
            "the same keys may choose other frames than in training"
        )
    return policy
