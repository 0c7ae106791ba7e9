"""Which model answered: stored with its answers, so that a stopped run goes on only with the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.run.lineage import weights_sha256
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
