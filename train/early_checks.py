"""Early checks of data, model and machine. An error is one line with the command that fixes it.
The data is checked before torch is imported, the model before any weight is loaded."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import UserError, this_python, warn
from data.hub import COMMIT, hub_errors
from data.sources.known_sources import FINEVIDEO
from data.storage import is_url
from train.config import TrainConfig
from train.sections import DataKeys, ModelKeys

if TYPE_CHECKING:
    from data.prepared.dataset import Prepared

MICROWORLD = (
    f"{this_python()} scripts/prepare.py source=microworld source.limit=64 frames.max=6 "
    "out=prepared/microworld  (then data.path=prepared/microworld)"
)


SUBSET = "finevideo-500"
"""The dataset that the recipes train on by default; recipes/finevideo-500.yaml prepares it."""


def check_data(keys: DataKeys) -> Prepared:
    """Open the prepared dataset.

    Raises:
        UserError: it does not exist or is empty; the message names the command that makes it.
    """
    if not is_url(keys.path) and not Path(keys.path).exists():
        if Path(keys.path).name == SUBSET:
            make = (
                f"Make it: accept the terms at https://huggingface.co/datasets/{FINEVIDEO}, log in with `hf auth login`, then "
                f"{this_python()} scripts/prepare.py recipe={SUBSET}  "
                "(500 videos; downloads about 9 GB, keeps about 1.5 GB). Your own videos instead: "
                f"{this_python()} scripts/prepare.py source=jsonl source.path=YOUR.jsonl "
                "out=prepared/videos  (then data.path=prepared/videos)"
            )
        else:
            make = (
                f"Make it from your videos: {this_python()} scripts/prepare.py source=jsonl "
                f"source.path=YOUR.jsonl out={keys.path}  (about 3 MB a video)"
            )
        raise UserError(
            f"data.path={keys.path} does not exist. {make}; "
            f"or try the synthetic micro-world in a minute: {MICROWORLD}"
        )
    from data.prepared.dataset import Prepared

    dataset = Prepared.open(keys.path)
    if dataset.manifest["rows"] == 0:
        raise UserError(
            f"data.path={keys.path}: the prepared dataset is empty; see its quarantine.jsonl"
        )
    if set(dataset.manifest["by_source"]) == {"files"}:
        raise UserError(
            f"data.path={keys.path}: videos without descriptions (source=files), so there is nothing to learn; "
            "describe them with scripts/describe.py, or prepare rows with source=jsonl"
        )
    return dataset


def check_also(path: str | None) -> None:
    """Check that there is a prepared dataset for `eval.also`.

    Raises:
        UserError: there is none.
    """
    if path is not None and not is_url(path) and not (Path(path) / "manifest.json").is_file():
        raise UserError(f"eval.also={path}: no prepared dataset there (no manifest.json)")


LARGE = 2048  # text hidden size from which a CPU needs minutes for one step


def check_reachable(keys: ModelKeys, *, force: bool = False) -> ModelKeys:
    """Check that the checkpoint can be loaded, and is not so large that this machine would take days.
    Returns the keys with the current commit of a checkpoint on the Hub as `revision`.

    Raises:
        UserError: one of these checks fails (`force`: the size is not checked).
    """
    folder = Path(keys.name)
    if folder.is_dir():
        file = folder / "config.json"
        if not file.is_file():
            raise UserError(
                f"model.name={keys.name}: no config.json in that folder, so it is not a checkpoint"
            )
    elif keys.name.count("/") != 1 or keys.name.startswith((".", "/", "~")):
        raise UserError(
            f"model.name={keys.name}: neither a folder nor a Hub id such as "
            "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
        )
    else:
        file = Path(fetch_config(keys))
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        large = config.get("text_config", {}).get("hidden_size", 0) >= LARGE
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{file}: not a model configuration") from None
    if config.get("model_type") != "smolvlm":
        raise UserError(
            f"model.name={keys.name}: a {config.get('model_type')!r} model; SmolVLM2 checkpoints are 'smolvlm'"
        )
    import torch

    if large and not torch.cuda.is_available() and not force:
        raise UserError(
            f"model.name={keys.name}: no CUDA device here, and on a CPU a model this large takes minutes per step; "
            "this machine can train model.name=tiny, or with patience "
            "model.name=HuggingFaceTB/SmolVLM2-256M-Video-Instruct (train.force=true tries anyway)"
        )
    commit = file.parent.name  # in the Hub client's cache: snapshots/<commit>/config.json
    if keys.revision is None and not folder.is_dir() and COMMIT.fullmatch(commit):
        return keys.model_copy(update={"revision": commit})
    return keys


MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
HALVES = ("bf16", "fp16", "fp8")


def note_launch(compute: str, *, on_gpu: bool) -> None:
    """Warn about settings of `accelerate launch`, from its file or flags, that this run does not use.

    Args:
        compute: the precision of this run, as model.dtype names it.
    """
    environment = os.environ
    alone = "WORLD_SIZE" not in environment and not any(name in environment for name in MPI)
    if (
        not on_gpu
        and alone
        and "ACCELERATE_USE_CPU" in environment
        and "MASTER_ADDR" in environment
    ):
        warn(
            "note: on CPUs `accelerate launch --num_processes` starts one process only, which is this one; to start two, use "
            f"`torchrun --nproc_per_node 2 {' '.join(sys.argv)}`"
        )
    asked = environment.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked in HALVES and asked != compute and environment.get("RANK", "0") == "0":
        warn(
            f"note: mixed_precision={asked} of accelerate's configuration is not used; this run computes in {compute} "
            "(model.dtype sets it)"
        )


def check_can(config: TrainConfig, *, on_gpu: bool) -> None:
    """Check that this machine and its packages can do what the keys ask for.

    Raises:
        UserError: a key needs a GPU, all weights on each device, or a package that is missing.
    """
    from train.model.sharding import sharding, weights_are_sharded
    from train.run.trackers import check_tracker

    check_tracker(config.log)
    train, optim, watch = config.train, config.optim, config.eval
    if not on_gpu and (train.offload or "8bit" in optim.name):
        key = "train.offload=true" if train.offload else f"optim.name={optim.name}"
        raise UserError(f"{key}: needs a CUDA device, and there is none here; leave it out")
    if optim.name == "muon" and sharding() is not None:
        raise UserError(
            f"optim.name=muon: works on whole matrices, and {sharding()} shares them out; use optim.name=adamw"
        )
    if watch.generate_every is not None and weights_are_sharded():
        raise UserError(
            f"eval.generate_every={watch.generate_every}: generating needs all weights on each device, "
            f"and {sharding()} shares them out; leave it out, and score the run with scripts/evaluate.py"
        )
    if watch.judge.model is not None and find_spec("openai") is None:
        raise UserError("eval.judge.model: its client is not installed; pip install -e '.[judge]'")


def check_context(keys: DataKeys, positions: int) -> None:
    """Check that samples fit into the model's context of `positions` tokens.

    Raises:
        UserError: data.max_tokens is larger.
    """
    if keys.max_tokens > positions:
        raise UserError(
            f"data.max_tokens={keys.max_tokens}: the model's context ends at {positions}; set data.max_tokens={positions} "
            "(longer samples lose whole frames; prepare with a smaller frames.max to lose none)"
        )


def fetch_config(keys: ModelKeys) -> str:
    """The local copy of a Hub checkpoint's `config.json`.

    Raises:
        UserError: it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download

    with hub_errors(keys.name, key="model.name", revision=keys.revision):
        return hf_hub_download(keys.name, "config.json", revision=keys.revision)
    raise AssertionError("not reached")
