"""Cached vision features: the output of a frozen vision tower for a frame never changes.

A cache lies beside the prepared dataset, in `features/<stage>-<key>/`, one safetensors file per row
group, one tensor (F, N, H) per row. The key is a hash of everything that the features depend on:
weights, precision, preprocessing and the bytes of the frames. Another model or another dataset has
another key, so that a stale cache is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from data.errors import UserError, this_python
from data.prepared.dataset import Prepared
from data.storage import is_url
from train.batches.frames import frame_size_px
from train.sections import LoraKeys, Method, OptimKeys

Stage = Literal["tower", "connector"]
FOLDER = "features"


def stage_of(method: Method, lora: LoraKeys, optim: OptimKeys) -> Stage:
    """The last frozen part of the model: its output can be cached.

    Raises:
        UserError: the vision tower itself trains.
    """
    if method == "full":
        rates = optim.rates()
        tower, connector = rates["vision"] > 0, rates["connector"] > 0
    else:
        tower = lora.targets == "all"
        connector = lora.targets != "llm" or lora.connector
    if tower:
        key = "optim.lr_vision" if method == "full" else "lora.targets=all"
        raise UserError(f"{key}: the vision tower trains, so its features change with every step")
    return "tower" if connector else "connector"


def cache_folder(
    stage: Stage,
    dataset: Prepared,
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    compute: torch.dtype,
) -> Path:
    """The cache folder of this model for this dataset, whether it exists or not.

    Reads the dataset's files once for their hash (about a second per gigabyte).

    Raises:
        UserError: the dataset is not in a local folder.
    """
    path = dataset.path
    if is_url(path):
        raise UserError(
            f"data.path={path}: features are kept beside the dataset; copy it here first"
        )
    video = processor.video_processor
    digest = hashlib.blake2b(digest_size=8)
    how = [frame_size_px(processor), video.rescale_factor, video.image_mean, video.image_std]
    digest.update(json.dumps([stage, str(compute), *how]).encode())
    parts = [model.model.vision_model] + [model.model.connector] * (stage == "connector")
    for part in parts:
        for name, weight in sorted(part.state_dict().items()):
            digest.update(name.encode())
            numbers = weight.to(compute).cpu().contiguous().view(torch.uint8)
            digest.update(numbers.numpy().tobytes())
    for shard in dataset.shards:
        with Path(shard).open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return Path(path) / FOLDER / f"{stage}-{digest.hexdigest()}"


def part_name(group: int) -> str:
    return f"group-{group:06d}.safetensors"


@dataclass
class Features:
    """A feature cache; the features of a row are read when they are needed."""

    folder: Path
    starts: tuple[int, ...]
    """First row of each group."""
    _files: dict[int, Any] = field(default_factory=dict, repr=False)
    _process: int = 0

    def of(self, row: int) -> torch.Tensor:
        """Features (F, N, H) of all stored frames of a row."""
        if self._process != os.getpid():  # a loader worker inherits no open file
            self._process, self._files = os.getpid(), {}
        group = bisect_right(self.starts, row) - 1
        if group not in self._files:
            self._files[group] = safe_open(self.folder / part_name(group), "pt")
        return self._files[group].get_tensor(str(row))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "starts": self.starts}  # open files cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def open_features(
    stage: Stage,
    dataset: Prepared,
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    compute: torch.dtype,
    starts: tuple[int, ...],
) -> Features:
    """The finished cache for this model and dataset.

    Raises:
        UserError: it is missing or not finished; the message says how to make it.
    """
    folder = cache_folder(stage, dataset, model, processor, compute)
    make = f"{this_python()} scripts/cache_features.py with the keys of this run makes it"
    if not folder.is_dir():
        others = len(list(folder.parent.glob("*-*"))) if folder.parent.is_dir() else 0
        stale = f" ({others} of another model, precision or other frames)" if others else ""
        raise UserError(
            f"data.features=true: {dataset.path} has no features of this model{stale}; {make}"
        )
    missing = [g for g in range(len(starts)) if not (folder / part_name(g)).is_file()]
    if missing:
        raise UserError(
            f"data.features=true: {folder} lacks {len(missing)} of {len(starts)} files; {make}, from where it stopped"
        )
    return Features(folder, starts)
