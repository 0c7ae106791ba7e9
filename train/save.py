"""What a run leaves behind, and how it is found again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from pydantic import ValidationError
from transformers import PreTrainedModel, SmolVLMProcessor

from data.config import UserError
from data.keys import FrameKeys
from data.selection.policies import POLICY_VERSION
from data.storage import write_atomically
from train.config import DataKeys, ModelKeys, TrainConfig
from train.hub.fetch import folder_of
from train.messages import POLICY_FILE, RECORD, read_json, warn


def resolve_base(config: TrainConfig, output: Path, processes: PartialState) -> ModelKeys:
    """`model.name=tiny` is built into the run folder, and then read like any checkpoint folder."""
    if config.model.name != "tiny":
        return config.model
    folder = output / "base"
    with processes.main_process_first():
        if processes.is_main_process and not (config.train.resume and folder.exists()):
            from train import tiny

            tiny.build(folder, seed=config.train.seed)
    return config.model.model_copy(update={"name": str(folder)})


def save_run(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    policy: dict[str, Any],
    config: TrainConfig,
    records: dict[str, Any],
    output: Path,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Adapter or model (safetensors), processor, frame policy, record; the record last.

    `weights`: the model's, where it does not hold them itself (`train.trainer.whole_weights`).
    """
    model.save_pretrained(str(output), state_dict=weights)
    processor.save_pretrained(output)
    shown = {
        **policy,
        "target": config.data.target,
        "prompt": config.data.prompt,
        "system": config.data.system,
        "max_tokens": config.data.max_tokens,
    }
    write_atomically(output / POLICY_FILE, json.dumps(shown, indent=1) + "\n")
    write_atomically(output / RECORD, json.dumps(records, indent=1) + "\n")


@dataclass(frozen=True)
class SavedRun:
    """A run folder as read back."""

    folder: Path
    base: ModelKeys
    is_adapter: bool
    frames: FrameKeys
    data: DataKeys
    """The target, instruction and system turn that the run learned."""
    is_trained: bool = True
    """False: a model as it is, which is only shown and asked what a run would be."""


def read_run(folder: str | Path, base: str | None = None) -> SavedRun:
    """Find base, policy and prompt of a run, in a folder or by its name on the Hub; `base` overrules
    the run's own record.

    Raises:
        UserError: no run there, or parts of it missing.
    """
    path = folder_of(str(folder))
    is_adapter = (path / "adapter_config.json").is_file()
    if not is_adapter and not (path / "config.json").is_file():
        raise UserError(
            f"adapter={folder}: holds neither an adapter nor a model; did the run finish?"
        )
    if is_adapter and not (path / "adapter_model.safetensors").is_file():
        raise UserError(
            f"adapter={folder}: no adapter_model.safetensors (pickled weights are not loaded)"
        )
    if base is not None and not is_adapter:
        raise UserError(f"model.name={base}: {folder} is a whole model, it needs no base")
    if not is_adapter:
        base = str(path)
    elif base is None:
        told = read_json(path / "adapter_config.json").get("base_model_name_or_path") or ""
        base = str(path / "base") if (path / "base" / "config.json").is_file() else told
        if not base:
            raise UserError(
                f"adapter={folder}: does not say what its base model is; give model.name"
            )
    told_by_run = read_json(path / RECORD) if (path / RECORD).is_file() else {}
    revision = told_by_run.get("revision") if base == told_by_run.get("base") else None
    frames, data = _policy(path)
    return SavedRun(
        folder=path,
        base=ModelKeys(name=base, revision=revision),
        is_adapter=is_adapter,
        frames=frames,
        data=data,
    )


def base_of(run: SavedRun) -> SavedRun:
    """The model that a run started from, seeing and asked what the run was.

    Raises:
        UserError: it is not recorded, or gone.
    """
    base = run.base
    if not run.is_adapter:
        file = run.folder / RECORD
        told = read_json(file) if file.is_file() else {}
        name = told.get("base")
        if not isinstance(name, str):
            raise UserError(f"base=true: {run.folder} does not say which model it was trained from")
        if name == "base":  # the tiny model, built into the run
            name = str(run.folder / "base")
        base = ModelKeys(name=name, revision=told.get("revision"))
    return SavedRun(Path(base.name), base, False, run.frames, run.data, is_trained=False)


def untrained(model: ModelKeys, policy: dict[str, Any], talk: DataKeys) -> SavedRun:
    """A checkpoint as it is, seeing what the frame policy of a prepared dataset chose."""
    known = {name: value for name, value in policy.items() if name != "version"}
    frames = FrameKeys.model_validate(known)
    return SavedRun(Path(model.name), model, False, frames, talk, is_trained=False)


def trained_on(run: SavedRun) -> dict[str, Any]:
    """What a run's record says of its dataset; nothing where there is no record."""
    file = run.folder / RECORD
    told = read_json(file).get("dataset") if file.is_file() else None
    return told if isinstance(told, dict) else {}


def _policy(path: Path) -> tuple[FrameKeys, DataKeys]:
    file = path / POLICY_FILE
    if not file.is_file():
        assumed = FrameKeys()
        warn(
            f"note: {file} is missing, so how its frames were chosen is unknown; assuming "
            f"frames.policy={assumed.policy} frames.max={assumed.max} and the timeline instruction"
        )
        return assumed, DataKeys()
    stored = read_json(file)
    if stored.pop("version", None) != POLICY_VERSION:
        raise UserError(
            f"{file}: written by another version of the policies; prepare and train again"
        )
    try:
        talk = {key: stored.pop(key) for key in ("target", "prompt", "system", "max_tokens")}
        return FrameKeys.model_validate(stored), DataKeys.model_validate(talk)
    except (KeyError, ValidationError):
        raise UserError(f"{file}: not a frame policy of this version") from None
