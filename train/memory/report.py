"""What `scripts/plan.py` prints: memory by part, whether it fits, what would fit, and hours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.prepared.shards import read_manifest
from data.storage import is_url
from train.console import say
from train.memory.config import CARDS, PlanConfig, check_plan
from train.memory.plan import (
    advice,
    batch_shape,
    describe_batch,
    largest,
    plan,
    without_checkpointing,
)
from train.memory.shapes import shape_of
from train.model.load import DTYPES

FRAMES = 32
"""Frames per video, assumed if the data is not prepared."""


def show_plan(config: PlanConfig) -> dict[str, Any]:
    """Print the plan; returns the figures that `json=FILE` gets.

    Raises:
        UserError: the model's shapes are unknown, or the GPU has no native bf16.
    """
    card = CARDS[config.gpu]
    asked = check_plan(config)
    compute = DTYPES[asked]
    shape = shape_of(config.model)
    frames, videos, known = _data(config)
    load = batch_shape(config.train, config.data, shape, frames, config.answer_tokens)
    found = plan(shape, config, load, compute)
    fits = found.peak_gib <= card.gib

    method = config.train.method
    say(f"{config.model.name}, {method}, {asked}, on a {card.name}, {known}")
    if load.frames < frames:
        say(
            f"only {load.frames} of {frames} frames fit into data.max_tokens={config.data.max_tokens}"
        )
    for name, gib in found.parts.items():
        say(f"  {name:<23}{gib:7.2f} GiB")
    say(
        f"  {'at most':<23}{found.peak_gib:7.2f} GiB of {card.gib:g}: {'fits' if fits else 'DOES NOT FIT'}"
        f"{', while generating for held-out videos' * found.estimate.describing}"
    )
    would: list[str] = []
    faster = without_checkpointing(shape, config, load, compute, card.gib) if fits else None
    if faster is not None:
        less = 1 - faster.estimate.tflop / found.estimate.tflop
        say(
            f"train.checkpointing=false fits too, at {faster.peak_gib:.2f} GiB, and takes {less:.0%} fewer FLOPs"
        )
    if not fits:
        would = advice(shape, config, load, compute, card.gib)
        say("it would with " + ", or ".join(would) if would else "no known change makes it fit")
    batches: dict[int, int] = {}
    if config.search:
        batches = largest(shape, config, config.answer_tokens, compute, card.gib)
        shown = ", ".join(f"{k} frames: {b or 'none'}" for k, b in batches.items())
        say(f"largest train.batch that fits, without padding: {shown}")

    tflops = config.tflops or card.tflops
    seconds = found.estimate.tflop / tflops / load.samples
    say(
        f"{found.estimate.tflop:.1f} TFLOP a pass of {describe_batch(load)}; at {tflops:g} TFLOP/s "
        f"({'as given' if config.tflops else 'assumed; give tflops=… for yours'}) {seconds:.1f} s a video, "
        f"{seconds * 1000 / 3600:.1f} h for 1,000"
    )
    hours = None
    if videos is not None:
        passes = (
            config.train.steps * config.train.accumulate * load.samples
            if config.train.steps
            else config.train.epochs * videos * (1 - config.data.eval_share)
        )
        hours = passes * seconds / 3600
        say(f"{videos:,} rows prepared: {hours:.1f} h for this run, without evaluations")
    figures = {
        "peak_gib": round(found.peak_gib, 3),
        "card_gib": card.gib,
        "fits": fits,
        "parts": {name: round(gib, 4) for name, gib in found.parts.items()},
        "frames": load.frames,
        "batch": load.batch,
        "row": load.packed_tokens,
        "tokens": load.tokens,
        "would_fit": would,
        "without_checkpointing_gib": None if faster is None else round(faster.peak_gib, 3),
        "without_checkpointing_tflop": None if faster is None else round(faster.estimate.tflop, 3),
        "largest_batch": {str(k): b for k, b in batches.items()},
        "tflop": round(found.estimate.tflop, 3),
        "tflops": tflops,
        "seconds_a_video": round(seconds, 3),
        "hours": None if hours is None else round(hours, 3),
    }
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _data(config: PlanConfig) -> tuple[int, int | None, str]:
    """(frames per video, number of videos, source of these figures in words)."""
    path = config.data.path
    manifest = read_manifest(path) if is_url(path) or Path(path).is_dir() else None
    if config.frames.max is not None:
        frames, known = config.frames.max, f"{config.frames.max} frames a video"
    elif manifest is not None:
        frames = int(manifest["policy"]["max"])
        known = f"up to {frames} frames a video, as {path} was prepared"
    else:
        frames, known = FRAMES, f"{FRAMES} frames a video (assumed: {path} is not prepared yet)"
    videos = None if manifest is None else int(manifest["rows"])
    return frames, videos, known
