"""The run folder: where it is, what it records, what the run says before its first step."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import SmolVLMProcessor

from data.config import UserError, resolved
from data.storage import write_atomically
from train.config import TrainConfig
from train.messages import METRICS, SAMPLES, say

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")


def open_folder(config: TrainConfig, processes: PartialState) -> Path:
    """The run folder, with the resolved configuration in it: `recipe=<that file>` repeats the run.

    A finished run that is there already is moved aside, never written over.

    Raises:
        UserError: nothing to resume, a stopped run that should be resumed, or no folder.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    output = Path(config.train.output or f"runs/{config.train.method}-{stamp}")
    checkpoints = whole_checkpoints(output)
    finished = (output / "run.json").exists()
    if output.exists() and not output.is_dir():
        raise UserError(f"train.output={output}: is a file; give a folder")
    if config.train.resume and not checkpoints:
        raise UserError(
            f"train.resume=true: no whole checkpoint in {output}; set train.output to the run's folder"
        )
    if checkpoints and not finished and not config.train.resume:
        raise UserError(
            f"train.output={output}: a stopped run with {checkpoints[-1].name}; continue it with "
            "train.resume=true, or choose another folder"
        )
    if (
        finished
        and not config.train.resume
        and Path(config.model.name).resolve().is_relative_to(output.resolve())
    ):
        raise UserError(
            f"train.output={output}: model.name={config.model.name} lies in it; choose another folder"
        )
    output = Path(broadcast_object_list([str(output)])[0])  # one clock names it for all processes
    with processes.main_process_first():
        if processes.is_main_process:
            if finished and not config.train.resume:
                set_aside(output)
            _start(config, output)
    return output


def whole_checkpoints(output: Path) -> list[Path]:
    """In the order of their steps; one that a kill left half written is none. The file that is looked
    for is the one that the library writes last."""
    found = []
    for folder in output.glob("checkpoint-*"):
        number = folder.name.removeprefix("checkpoint-")
        if number.isdigit():
            with contextlib.suppress(OSError, ValueError):
                json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
                found.append((int(number), folder))
    return [folder for _, folder in sorted(found)]


def set_aside(folder: Path) -> None:
    """Make room by renaming; nothing is deleted."""
    aside = folder.with_name(f"{folder.name}-before-{time.strftime('%Y%m%d-%H%M%S')}")
    folder.rename(aside)
    say(f"the run that was in {folder} is now in {aside}")


MAY_CHANGE = ("resume", "output", "force", "batch", "accumulate", "save_every", "keep", "log_every")
"""Of `train`, on the way: they change nothing that is learned, or serve another number of devices."""


def _check_same(now: dict[str, Any], file: Path) -> None:
    """A resumed run goes on with the keys it began with.

    Raises:
        UserError: other weights would train.
    """
    began = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    changed = [
        (f"{section}.{key}", value, now[section][key])
        for section, keys in (began or {}).items()
        if section not in ("log", "hub")
        for key, value in keys.items()
        if now.get(section, {}).get(key, value) != value
        and not (section == "train" and key in MAY_CHANGE)
    ]
    told = ", ".join(f"{key}={new} where it began with {old}" for key, old, new in changed)
    if any(key.startswith(("model.", "lora.", "train.method")) for key, _, _ in changed):
        raise UserError(f"train.resume=true: {told}; give the keys of {file}")
    if changed:
        say(f"note: resumed with {told}")


def _start(config: TrainConfig, output: Path) -> None:
    settings = json.loads(json.dumps(resolved(config)))
    if config.train.resume:
        _check_same(settings, output / "config.yaml")
    settings["train"]["resume"] = False  # who repeats this run begins it anew
    try:
        output.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        write_atomically(output / "config.yaml", text)
        if not config.train.resume:
            for name in (METRICS, SAMPLES):
                (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"train.output={output}: cannot be written ({error.strerror})") from None


def set_up_tracker(config: TrainConfig, output: Path) -> None:
    """wandb without a login writes offline, and says so.

    Raises:
        UserError: the tracker is not installed.
    """
    tracker = config.log.to
    if tracker != "none" and find_spec(tracker) is None:
        raise UserError(f"log.to={tracker}: not installed; pip install -e '.[{tracker}]'")
    if config.log.to == "tensorboard":
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(output / "tensorboard"))
    if config.log.to != "wandb":
        return
    os.environ.setdefault("WANDB_PROJECT", config.log.project)
    os.environ.setdefault("WANDB_DIR", str(output))
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    logged_in = "WANDB_API_KEY" in os.environ or (
        netrc.is_file() and "api.wandb.ai" in netrc.read_text(encoding="utf-8", errors="replace")
    )
    if not logged_in and "WANDB_MODE" not in os.environ:
        os.environ["WANDB_MODE"] = "offline"
        say(
            f"wandb: not logged in, so offline; `wandb sync {output}/wandb/offline-run-*` sends it later"
        )


def record(
    config: TrainConfig, manifest: dict[str, Any], manifest_sha256: str, results: dict[str, Any]
) -> dict[str, Any]:
    """What it takes to know, later, what made this run."""
    return {
        "base": "base" if config.model.name == "tiny" else config.model.name,
        "base_is_folder": Path(config.model.name).is_dir(),
        "revision": config.model.revision,
        "method": config.train.method,
        "versions": {name: version(name) for name in PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain")),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "dataset": {
            "path": config.data.path,
            "manifest_sha256": manifest_sha256,
            "sources": manifest["sources"],
            "rows": manifest["rows"],
            "eval_share": config.data.eval_share,
            "eval_max": config.data.eval_max,
        },
        "results": results,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def show_example(ids: Sequence[int], labels: Sequence[int], processor: SmolVLMProcessor) -> str:
    """One sample as the model gets it: frames folded, what is learned marked.

    Example:
        Frame from 00:04:<frame ×64>
        … Assistant:«[00:00 - 00:02] a dog runs.<end_of_utterance>»
    """
    pieces, learned = [], False
    run: list[int] = []
    opening, closing = ("\033[1;32m", "\033[0m") if sys.stdout.isatty() else ("«", "»")

    def flush() -> None:
        text = processor.tokenizer.decode(run, skip_special_tokens=False)
        pieces.append(opening + text + closing if learned else text)
        run.clear()

    for token, label in zip(ids, labels, strict=True):
        if (label >= 0) != learned:
            flush()
            learned = label >= 0
        run.append(token)
    flush()
    fake, image = re.escape(processor.fake_image_token), re.escape(processor.image_token)
    frame = re.compile(rf"{fake}{re.escape(processor.global_image_token)}((?:{image})+){fake}")
    length = len(processor.image_token)
    return frame.sub(lambda m: f"<frame ×{len(m[1]) // length}>", "".join(pieces))
