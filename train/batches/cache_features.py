"""Cache vision features: all frames of a prepared dataset pass the frozen vision tower once.
`scripts/cache_features.py` calls it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as Table
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from data.config import GIB
from data.errors import UserError
from data.locks import locked
from data.prepared.dataset import Prepared
from data.storage import atomic
from train.batches.features import Stage, cache_folder, part_name, stage_of
from train.batches.frames import decode_frames, frame_size_px, normalise
from train.batches.stream import Groups, Pictures, read_texts
from train.config import TrainConfig
from train.console import say
from train.early_checks import check_reachable
from train.model import forward
from train.model.load import Precision, load_model, load_processor, pick_precision


class _Rows(Dataset[torch.Tensor]):
    """The frames of each row, (F, 3, S, S) uint8, decoded in the loader's workers."""

    def __init__(self, groups: Groups, rows: list[int], size_px: int):
        self._pictures, self._rows, self._size_px = Pictures(groups, keep=1), rows, size_px

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> torch.Tensor:
        return decode_frames(self._pictures.of(self._rows[i]), self._size_px)


def cache_features(config: TrainConfig, dataset: Prepared) -> Path:
    """Write the features that the cache lacks; returns its folder.

    Raises:
        UserError: the vision tower trains, the model cannot be loaded, or the disk is too small.
    """
    stage = stage_of(config.train.method, config.lora, config.optim)
    precision = pick_precision(config.model.dtype)
    name = config.model
    if name.name == "tiny":
        raise UserError(
            "model.name=tiny: it is built for each run; give the folder of a checkpoint"
        )
    check_reachable(name, force=True)
    processor = load_processor(name)
    texts, groups = read_texts(dataset, ["times_s"])
    model = load_model(name, "lora", precision).to(torch.device(precision.device)).eval()  # type: ignore[arg-type]
    model.requires_grad_(False)
    folder = cache_folder(stage, dataset, model, processor, precision.compute)
    with locked(folder, f"data.path={dataset.path}: its features"):
        _write(
            stage,
            model,
            processor,
            texts,
            groups,
            folder,
            precision,
            workers=config.data.workers,
            frames_at_once=config.train.vision_batch,
        )
    say(f"features in {folder}; train with data.features=true")
    return folder


def _write(
    stage: Stage,
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    texts: Table,
    groups: Groups,
    folder: Path,
    precision: Precision,
    *,
    workers: int,
    frames_at_once: int,
) -> None:
    """Compute and save the features that the cache lacks, one row group at a time."""
    counts = [len(times) for times in texts["times_s"]]
    ends = [*groups.starts[1:], len(counts)]
    spans = dict(enumerate(zip(groups.starts, ends, strict=True)))
    left = {g: span for g, span in spans.items() if not (folder / part_name(g)).is_file()}
    rows = [row for start, end in left.values() for row in range(start, end)]
    _print_cost(model, stage, precision.compute, sum(counts), sum(counts[r] for r in rows), folder)

    # the loader returns rows in the order of `rows`: its workers take turns
    loader = DataLoader(
        _Rows(groups, rows, frame_size_px(processor)),
        batch_size=None,
        num_workers=workers,
    )
    scale = partial(normalise, processor=processor)
    mixed = precision.compute is not torch.float32
    arriving = iter(loader)
    with (
        torch.inference_mode(),
        torch.autocast(precision.device, precision.compute, enabled=mixed),
        tqdm(total=sum(counts[r] for r in rows), desc="features", unit="frame") as bar,
    ):
        for group, (start, end) in left.items():
            made: dict[str, torch.Tensor] = {}
            for row in range(start, end):
                frames = next(arriving).to(precision.device)
                seen = forward.encode_frames(model, scale, frames, frames_at_once)
                if stage == "connector":
                    seen = forward.connect(model, seen)
                made[str(row)] = seen.to(precision.compute).cpu().contiguous()
                bar.update(len(frames))
            _save(made, folder / part_name(group))


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a file atomically: a kill leaves all of it or nothing.

    Raises:
        UserError: the disk is full.
    """
    try:
        with atomic(path) as unfinished:
            save_file(tensors, unfinished)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); the same command continues"
        ) from None


def _print_cost(
    model: SmolVLMForConditionalGeneration,
    stage: str,
    compute: torch.dtype,
    frames: int,
    missing: int,
    folder: Path,
) -> None:
    """Print the size of the cache and from when on it pays off.

    Raises:
        UserError: the disk has too little room.
    """
    vision: Any = model.config.vision_config
    text: Any = model.config.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    if stage == "connector":
        numbers = model.model.image_seq_len * text.hidden_size
    else:
        numbers = patches * vision.hidden_size
    each = numbers * compute.itemsize
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    say(
        f"{frames:,} frames × {each / 1024:,.0f} KiB (after the {stage}, {compute}) = {frames * each / GIB:.2f} GiB, "
        f"of them {missing * each / GIB:.2f} to make; {free / GIB:.0f} GiB are free. Making all costs one pass of the "
        "vision tower over all frames, as an epoch without a cache does: it pays from the second epoch on"
    )
    if missing * each > free:
        raise UserError(
            f"{folder}: needs {missing * each / GIB:.1f} GiB, {free / GIB:.1f} are free"
        )
