"""Does the loader keep up? Its real throughput against the videos per second that a planned step uses."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from train.batches.collate import collate
from train.batches.dataset import load_sets
from train.bench import random_checkpoint
from train.bench.config import BenchLoaderConfig
from train.config import TrainConfig
from train.console import say
from train.memory.config import CARDS, MODELS
from train.memory.plan import batch_shape_of_data, plan
from train.memory.shapes import shape_of
from train.model.load import DTYPES
from train.sections import DataKeys, ModelKeys


def measure(config: BenchLoaderConfig) -> dict[str, float]:
    """Flat figures: `demand_videos_per_s`, `workers=2/videos_per_s` and their ratio, `…/times_the_demand`."""
    name = MODELS[config.model]
    shape = shape_of(ModelKeys(name=name))
    with TemporaryDirectory() as work:
        path = config.path or _micro_world(config, Path(work))
        processor = random_checkpoint.processor(shape)
        sets = load_sets(Prepared.open(path), DataKeys(path=path, eval_share=0), processor)
        settings = load(TrainConfig, [f"model.name={name}", "train.method=qlora", "lora.dropout=0"])
        card = CARDS[config.gpu]
        planned = plan(
            shape,
            settings,
            batch_shape_of_data(settings.train, settings.data, sets.survey),
            DTYPES[card.compute],
        )
        demand = card.tflops / planned.estimate.tflop
        frames = sum(sets.survey.frames) / len(sets.survey.frames)
        figures = {"frames": frames, "demand_videos_per_s": demand}
        say(
            f"{len(sets.train)} videos of {frames:.0f} frames; a step of {name} (QLoRA) uses {demand:.2f} videos/s "
            f"at an assumed {card.tflops:g} TFLOP/s ({card.name})"
        )
        for workers in config.workers:
            rate = _rate(sets.train, processor.tokenizer.pad_token_id, workers)
            figures[f"workers={workers}/videos_per_s"] = rate
            figures[f"workers={workers}/times_the_demand"] = rate / demand
            say(
                f"data.workers={workers}: {rate:.1f} videos/s, {rate * frames:.0f} frames/s, {rate / demand:.1f} × the demand"
            )
    return figures


def _rate(samples: object, pad_id: int, workers: int) -> float:
    """Videos per second, without the first one, which waits for the workers to start."""
    loader: DataLoader[object] = DataLoader(
        samples,  # type: ignore[arg-type]  # a table is a dataset
        batch_size=1,
        collate_fn=partial(collate, pad_id=pad_id),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    arriving = iter(tqdm(loader, desc=f"workers={workers}", unit="video", leave=False))
    next(arriving)
    started = time.perf_counter()
    count = sum(1 for _ in arriving)
    return count / (time.perf_counter() - started)


def _micro_world(config: BenchLoaderConfig, work: Path) -> str:
    keys = PrepareConfig(
        source=SourceKeys(name="microworld", path=str(work / "videos"), limit=config.videos),
        frames=FrameKeys(policy="uniform", max=config.frames, px=512),
        out=str(work / "prepared"),
    )
    prepare(keys)
    return keys.out
