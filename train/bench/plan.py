"""Is the memory plan right? Planned bytes against those counted in a real step on this machine."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from tqdm import tqdm

from train.bench import random_checkpoint
from train.bench.config import BenchPlanConfig
from train.bench.real_steps import Ready, batch_of, ready
from train.console import say
from train.memory.config import MODELS
from train.memory.estimate import estimate, step
from train.memory.live_bytes import LiveBytes, attribute_to_modules, count_weights
from train.memory.plan import batch_shape
from train.model.load import Precision
from train.sections import Method

MIB = 2**20


def measure(config: BenchPlanConfig) -> dict[str, float]:
    """Flat figures: `256M/lora/8/planned_mib`, `…/counted_mib`, `…/ratio`, and `worst`, the largest error."""
    figures: dict[str, float] = {}
    rows = [(m, method) for m in config.models for method in config.methods]
    with TemporaryDirectory() as work:
        for size, method in tqdm(rows, desc="real steps", unit="model"):
            folder = random_checkpoint.build(MODELS[size], Path(work) / size)
            for frames in config.frames:
                more = [f"train.checkpointing={str(config.checkpointing).lower()}"]
                found = both(MODELS[size], folder, method, frames, config.tokens, more)
                name = f"{size}/{method}/{frames}"
                figures[f"{name}/planned_mib"] = round(found[0] / MIB, 1)
                figures[f"{name}/counted_mib"] = round(found[1] / MIB, 1)
                figures[f"{name}/ratio"] = round(found[0] / found[1], 4)
    say("| model | method | frames | planned MiB | counted MiB | planned ÷ counted |")
    say("|---|---|---|---|---|---|")
    for name in (n.removesuffix("/ratio") for n in list(figures) if n.endswith("/ratio")):
        planned, counted = figures[f"{name}/planned_mib"], figures[f"{name}/counted_mib"]
        say(
            f"| {' | '.join(name.split('/'))} | {planned:,.0f} | {counted:,.0f} | {figures[f'{name}/ratio']:.3f} |"
        )
    figures["worst"] = max(abs(v - 1) for n, v in figures.items() if n.endswith("/ratio"))
    return figures


def both(
    name: str,
    folder: Path,
    method: Method | Literal["connector"],
    frames: int,
    tokens: int | None = None,
    more: Sequence[str] = (),
) -> tuple[int, int]:
    """Bytes at the peak of one step: planned, and counted while a real one runs.

    Args:
        tokens: of a frame (None: the model's own).
        more: further keys.
    """
    precision = Precision("cpu", torch.float32)
    alone = ("optim.lr=0", "optim.lr_connector=1e-3") if method == "connector" else ()
    real = ready(
        name,
        folder,
        "full" if method == "connector" else method,
        precision,
        tokens,
        (*more, *alone),
    )
    load = batch_shape(real.config.train, real.config.data, real.shape, frames, 100)
    counted = count(real, batch_of(real.shape, load))
    config, shape = real.config, real.shape
    del real
    gc.collect()
    return estimate(shape, config, load, precision.compute).peak_bytes, counted


def count(real: Ready, batch: dict[str, torch.Tensor]) -> int:
    """Bytes at the peak of a real forward and backward pass."""
    bytes_ = LiveBytes()
    count_weights(real.trained, bytes_)
    for state in real.optimizer.state.values():
        for value in state.values():
            bytes_.track(value, "optimizer")
    for tensor in batch.values():
        bytes_.track(tensor, "inputs")
    with attribute_to_modules(real.base, bytes_):
        step(real.trained, batch, bytes_, torch.float32)
    return bytes_.peak
