"""Whose the folder of descriptions is, and how what is in it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.errors import UserError, differing, made_otherwise
from data.selection.choose import policy_record
from data.selection.config import FrameKeys
from data.storage import write_atomically
from train.inference.config import DescribeConfig
from train.inference.folder.files import WORK, clear, remove_cleared
from train.inference.identity import model_identity
from train.inference.rows import uses_subtitles
from train.run.policy import ASK
from train.run.saved import SavedRun

ABOUT = "about.json"
BEFORE = {"compress": 0.0}
"""What folders were described with before there were these keys."""


def identity(config: DescribeConfig, run: SavedRun, keys: FrameKeys) -> dict[str, Any]:
    """All that decides what is said of a video."""
    model = model_identity(run)
    # where a folder with these weights lies makes no difference
    if model["base_weights"] or (model["weights"] and model["base"] == model["model"]):
        del model["base"]
    if model["weights"]:
        del model["model"]
    return {
        **model,
        "dtype": config.model.dtype,
        "policy": policy_record(keys),
        "min_decoded": run.policy.min_decoded,
        "ask": {key: getattr(run.data, key) for key in ASK},
        "prompt": config.prompt,
        "context": config.context,
        "speech_context": uses_subtitles(config.speech_context, run),
        "max_new_tokens": config.max_new_tokens,
        "server": config.server is not None,
        "compress": config.compress,
    }


def claim(out: Path, about: dict[str, Any], *, overwrite: bool) -> None:
    """Make sure that the folder is empty or holds descriptions made in the same way.

    Raises:
        UserError: it holds something else.
    """
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    file = out / WORK / ABOUT
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if before is None:
        begun = names == {WORK} and all(p.suffix == ".tmp" for p in (out / WORK).iterdir())
        if names and not begun:
            raise UserError(
                f"out={out}: is not empty and holds no descriptions; choose another folder"
            )
    else:
        before = {**BEFORE, **before}
        changed = differing(before, about)
        # what a stopped call with overwrite=true has begun is continued
        if overwrite and (changed or before.get("finished")):
            clear(out)
        elif changed:
            raise made_otherwise(f"out={out}", "descriptions", changed)
    remove_cleared(out)
    file.parent.mkdir(exist_ok=True)
    write_about(out, about, finished=False)


def write_about(out: Path, about: dict[str, Any], *, finished: bool) -> None:
    """Store how the descriptions are made, and whether all of them are."""
    text = json.dumps({**about, "finished": finished}, indent=1) + "\n"
    write_atomically(out / WORK / ABOUT, text)
