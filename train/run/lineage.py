"""Where the weights of a run come from: the runs that it went on from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from data.hub import COMMIT
from train.run.policy import QUESTION
from train.run.saved import SavedRun, record_of, trained_on


def lineage_of(run: SavedRun, name: str) -> tuple[dict[str, Any], ...]:
    """The run and those that it went on from, the nearest first, as `run.json` has them. `name`: what the run was
    called when training went on from it."""
    commit = run.folder.name  # in the Hub client's cache: snapshots/<commit>
    record = record_of(run.folder)
    here = {
        "run": name,
        "revision": commit if COMMIT.fullmatch(commit) else None,
        "weights_sha256": weights_sha256(run.folder),
        "dataset": trained_on(run).get("path"),
        "steps": (record.get("results") or {}).get("steps"),
        "asked": {key: getattr(run.data, key) for key in QUESTION},
    }
    return (here, *record.get("went_on_from", ()))


def weights_sha256(folder: Path) -> str | None:
    """SHA-256 of the weights in a folder, at about a second per gigabyte. None for a checkpoint on the
    Hub, which its commit identifies."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
