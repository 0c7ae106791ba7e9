"""The files of a run folder: their names, how they are read and written. Imports nothing heavy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from data.errors import UserError

METRICS = "metrics.jsonl"
"""Every logged row."""
SAMPLES = "samples.jsonl"
"""What was said of held-out videos while training."""
POLICY_FILE = "frame_policy.json"
"""How it sees videos, and what it is asked."""
HELD_OUT = "held_out.txt"
"""Ids of the rows it never learns from, one a line."""
FINGERPRINT = "fingerprint.json"
"""What its model held likely when it was saved (`train.inference.fingerprint`)."""
RECORD = "run.json"
"""Versions, dataset, results; written last."""
STATE = "run_state.json"
"""What the order of samples follows from, and the parts of a run that was resumed; written first."""

BASE = "base"
"""Where the tiny model lies in the folder of its run."""


def read_json(file: Path) -> dict[str, Any]:
    """
    Raises:
        UserError: it is not there, or holds no JSON object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{file}: a JSON object was expected")
    return value


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """JSON as everybody reads it, with a line end: what is no number or infinite is null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file to which a run adds line by line; none where there is no file. A killed run
    may leave half a line at its end, which is left out."""
    if not file.is_file():
        return []
    whole = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]
