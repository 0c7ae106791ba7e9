"""The files of a run folder: their names, and how to read and write them. Imports nothing heavy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from data.errors import UserError

METRICS = "metrics.jsonl"
"""Every logged row."""
SAMPLES = "samples.jsonl"
"""Descriptions of held-out videos that were generated during training."""
POLICY_FILE = "frame_policy.json"
"""The frame policy and the prompt."""
HELD_OUT = "held_out.txt"
"""Ids of the held-out rows, one per line."""
FINGERPRINT = "fingerprint.json"
"""The likeliest tokens of its model when it was saved (`train.inference.fingerprint`)."""
RECORD = "run.json"
"""Versions, dataset, results; written last."""
STATE = "run_state.json"
"""What determines the order of samples, and the parts of a resumed run; written first."""

REFERENCE = "reference"
"""With `train/prefer.py`, until the run has ended: the weights that it began with."""
BASE = "base"
"""The folder of the tiny base model inside its run folder."""


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: the file cannot be read, or holds no JSON object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{file}: a JSON object was expected")
    return value


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON with a final newline: NaN and infinite numbers become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file; none if there is no file. A partial last line, which a killed run
    may leave, is skipped."""
    if not file.is_file():
        return []
    whole = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]
