"""`frame_policy.json`: the frame policy and the prompt of a run.

{"version": 3, "frames": {"policy": "scene", …}, "min_decoded": 0.9, "ask": {"target": "timeline", …}}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data.config import resolved
from data.errors import UserError
from data.hub import opened, reading
from data.prepared.dataset import Prepared
from data.selection.choose import MIN_DECODED, recorded_keys
from data.selection.config import SELECTOR_FILES, SELECTOR_FOLDER, FrameKeys
from data.selection.known_policies import POLICY_VERSION
from data.storage import atomic, write_atomically
from train.run.files import POLICY_FILE, json_text, read_json
from train.sections import DataKeys

ASK = ("target", "clock", "window_clock", "prompt", "system", "max_tokens", "context_tokens")
"""Keys of `data` that set the prompt and its greatest length."""
QUESTION = ("target", "clock", "prompt", "system", "context_tokens")
"""Of these, what a model is asked and how it answers."""
BEFORE = {"clock": "seconds", "window_clock": "own", "context_tokens": 8192}
"""What runs did before there were these keys."""


@dataclass(frozen=True)
class RunPolicy:
    """How frames are chosen, and the prompt."""

    frames: FrameKeys
    ask: DataKeys
    min_decoded: float = MIN_DECODED
    """Share of a file's frames that must be decodable."""
    version: int | None = POLICY_VERSION
    """Version of the frame policies; with another one the same keys may choose other frames."""
    speech_context: bool = False
    """Whether what is said in a video was put before the instruction."""
    tokens_a_frame: int | None = None
    """Tokens of a frame in the prompt; None: unknown, those of the base model."""


def policy_of_dataset(
    manifest: dict[str, Any], ask: DataKeys, tokens_a_frame: int | None = None
) -> RunPolicy:
    """The policy of a run that trains on a prepared dataset. A run that learned from no window knows only times
    that begin at zero: it is shown a window as a video of its own."""
    if manifest.get("samples", manifest["rows"]) == manifest["rows"]:
        ask = ask.model_copy(update={"window_clock": "own"})
    frames, version = recorded_keys(manifest["policy"]), manifest["policy"].get("version")
    speech = any(source.get("speech_context") for source in manifest["sources"])
    return RunPolicy(frames, ask, manifest["min_decoded"], version, speech, tokens_a_frame)


def write_policy(policy: RunPolicy, output: Path) -> None:
    stored = {
        "version": policy.version,
        "frames": resolved(policy.frames),
        "min_decoded": policy.min_decoded,
        "speech_context": policy.speech_context,
        "tokens_a_frame": policy.tokens_a_frame,
        "ask": {key: getattr(policy.ask, key) for key in ASK},
    }
    write_atomically(output / POLICY_FILE, json_text(stored))


def same_choice(a: FrameKeys, b: FrameKeys) -> bool:
    """Whether two policies choose the same frames, wherever their selectors lie."""
    nowhere = {"selector": None}
    return {**resolved(a), **nowhere} == {**resolved(b), **nowhere}


def copy_selector(dataset: Prepared, output: Path) -> None:
    """Copy the selector that chose a dataset's frames, if one was named, into the run.

    Raises:
        UserError: the dataset lacks it.
    """
    frames = recorded_keys(dataset.manifest["policy"])
    if not frames.needs_selector() or frames.selector is None:
        return
    (output / SELECTOR_FOLDER).mkdir(exist_ok=True)
    for name in SELECTOR_FILES:
        with (
            reading(dataset.path),
            opened(f"{dataset.url}/{SELECTOR_FOLDER}/{name}") as file,
            atomic(output / SELECTOR_FOLDER / name) as unfinished,
        ):
            unfinished.write_bytes(file.read())


def read_policy(run: Path) -> RunPolicy:
    """The policy stored in a run folder.

    Raises:
        UserError: it is missing or not valid.
    """
    file = run / POLICY_FILE
    stored = read_json(file)
    version, min_decoded = stored.pop("version", None), stored.pop("min_decoded", MIN_DECODED)
    speech = bool(stored.pop("speech_context", False))
    tokens = stored.pop("tokens_a_frame", None)
    try:
        if "ask" not in stored:  # until 2026-11 all keys were on one level
            ask = {key: stored.pop(key) for key in ASK if key in stored or key not in BEFORE}
            stored = {"frames": stored, "ask": ask}
        frames = recorded_keys(stored["frames"])
        if (
            run / SELECTOR_FOLDER
        ).is_dir():  # the selector that came along, wherever the run is now
            frames = frames.model_copy(update={"selector": str(run / SELECTOR_FOLDER)})
        ask = {**BEFORE, **stored["ask"]}
        return RunPolicy(frames, DataKeys.model_validate(ask), min_decoded, version, speech, tokens)
    except (KeyError, ValidationError):
        raise UserError(f"{file}: not a frame policy of this version") from None
