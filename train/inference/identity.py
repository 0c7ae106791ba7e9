"""Which model answered: stored with its answers, so that a stopped run goes on only with the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from train.run.saved import SavedRun


def model_identity(run: SavedRun) -> dict[str, Any]:
    """Names, revision and weights of a run's model."""
    base = Path(run.base.name)
    return {
        "model": str(run.folder),
        "base": run.base.name,
        "revision": run.base.revision,
        "weights": weights_sha256(run.folder),
        "base_weights": weights_sha256(base) if base != run.folder else None,
    }


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
