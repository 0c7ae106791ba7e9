"""What can be refused before torch is imported, with the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.config import UserError
from train.config import DataKeys

MICROWORLD = (
    "python scripts/prepare.py source=microworld source.limit=64 frames.max=6 "
    "out=prepared/microworld  (then data.path=prepared/microworld)"
)


def check_data(keys: DataKeys) -> dict[str, Any]:
    """The manifest of the prepared dataset.

    Raises:
        UserError: it is not there; the line names the command that makes it.
    """
    if not Path(keys.path).exists():
        raise UserError(
            f"data.path={keys.path} does not exist. Make it from your videos: "
            f"python scripts/prepare.py source=jsonl source.path=YOUR.jsonl out={keys.path}  "
            "(about 3 MB of frames a video at 32 frames, and about as long as decoding takes); "
            f"or try the synthetic micro-world in a minute: {MICROWORLD}"
        )
    from data.shards import read_manifest

    manifest = read_manifest(keys.path)
    if manifest["rows"] == 0:
        raise UserError(f"data.path={keys.path}: the prepared dataset is empty; see its quarantine.jsonl")
    return manifest
