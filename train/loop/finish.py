"""Save a trained run: weights, fingerprint and record. Then push it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel

from data.config import ROOT
from data.prepared.dataset import Prepared
from train.batches.dataset import Sets
from train.config import TrainConfig
from train.hub import push
from train.inference import fingerprint
from train.loop.fit import gathered_weights
from train.loop.guards import Guarded
from train.loop.loading import Loaded
from train.run.files import REFERENCE
from train.run.saving import save_weights, saving, write_record
from train.run.state import RunState


def finish(
    trainer: Guarded,
    model: PreTrainedModel | PeftModel,
    loaded: Loaded,
    config: TrainConfig,
    dataset: Prepared,
    state: RunState,
    results: dict[str, float],
    output: Path,
    about: Mapping[str, Any],
) -> None:
    """Save the run, and push it if that is asked for. All processes must call it: sharded weights are
    gathered by all of them.

    Args:
        about: what `run.json` also says.

    Raises:
        UserError: it cannot be written; the message says what is safe.
    """
    weights, processor = gathered_weights(trainer), loaded.processor
    if trainer.is_world_process_zero():
        records = {**record(config, dataset, state, loaded.sets, results), **about}
        with saving(output, "the result"):
            save_weights(model, processor, output, weights)
            if weights is None:  # a sharded model cannot run on one process alone
                with trainer.accelerator.autocast():
                    mark = fingerprint.take_fingerprint(model, processor, config.data)
                fingerprint.write_fingerprint(mark, output)
            write_record(records, output)
            shutil.rmtree(output / REFERENCE, ignore_errors=True)
        push.write_card_and_push(output, config.hub)
    trainer.end()


def record(
    config: TrainConfig,
    dataset: Prepared,
    state: RunState,
    sets: Sets,
    results: dict[str, Any],
) -> dict[str, Any]:
    """The content of `run.json`."""
    return {
        "base": "base" if state.base == "tiny" else state.base,
        "base_is_folder": Path(state.base).is_dir(),
        "revision": state.revision,
        "went_on_from": list(state.went_on_from),
        "method": config.train.method,
        "versions": state.parts[-1].versions,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain")),
        "device": state.parts[-1].device,
        "parts": [asdict(part) for part in state.parts],
        "longest_answer": max(sets.survey.answers),
        "dataset": {
            "path": dataset.url,
            "manifest_sha256": dataset.manifest_sha256,
            "sha256": dataset.sha256,
            "sources": dataset.manifest["sources"],
            "rows": dataset.manifest["rows"],
            "videos": dataset.manifest["videos"],
            "held_out": len(sets.split.held),
            "held_out_videos": sets.split.videos,
            "learned_from": len(sets.survey.usable),
            "synthetic": dataset.manifest.get("synthetic", {}),
            "left_out_by_marks": sets.split.dropped,
            "own_words": dict(sets.survey.own_words),
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
