"""What fits with fewer tokens a frame: memory and compute of a step by the plan, from frames and from cached
features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tqdm import tqdm

from data.config import load
from train.bench.config_trained import BenchTokensConfig
from train.config import TrainConfig
from train.console import say
from train.memory.config import MODELS, Size
from train.memory.plan import MemoryPlan, batch_shape, plan
from train.memory.shapes import shape_of
from train.model.connector import token_counts, tokens_of

ANSWER_TOKENS = 300
FIGURES = ("tokens", "gib", "tflop", "cached_gib", "cached_tflop")
METHOD: Mapping[Size, str] = {"256M": "lora", "500M": "lora", "2.2B": "qlora"}


def what_fits(config: BenchTokensConfig) -> dict[str, float]:
    """Flat figures: `500M/128x16/gib`, `…/tflop`, `…/cached_tflop`, `…/tokens`."""
    figures: dict[str, float] = {}
    rows = [(m, f) for m in config.models for f in config.frames]
    for size, frames in tqdm(rows, desc="plan", unit="row"):
        for tokens in token_counts(shape_of(_keys(size).model)):
            key = f"{size}/{frames}x{tokens}"
            seen, cached = (_plan(size, frames, tokens, cached=c) for c in (False, True))
            if seen is None or cached is None:
                continue
            figures |= {
                f"{key}/tokens": seen.load.tokens,
                f"{key}/gib": seen.peak_gib,
                f"{key}/tflop": seen.estimate.tflop,
                f"{key}/cached_gib": cached.peak_gib,
                f"{key}/cached_tflop": cached.estimate.tflop,
            }
    say(table(figures))
    return figures


def _keys(size: Size, *more: str) -> TrainConfig:
    argv = [f"model.name={MODELS[size]}", f"train.method={METHOD[size]}", "lora.r=8"]
    return load(TrainConfig, [*argv, "lora.dropout=0", "train.accumulate=1", *more])


def _plan(size: Size, frames: int, tokens: int, *, cached: bool) -> MemoryPlan | None:
    """Of one video a step, with an answer of `ANSWER_TOKENS`; None if the context does not hold it. A connector with
    fewer tokens trains too."""
    more = [f"model.tokens_a_frame={tokens}", "data.max_tokens=8192"]
    if tokens != tokens_of(shape_of(_keys(size).model)):
        more.append("lora.connector=true")
    config = _keys(size, *more, f"data.features={str(cached).lower()}")
    shape = shape_of(config.model)
    shown = batch_shape(config.train, config.data, shape, frames, ANSWER_TOKENS)
    return plan(shape, config, shown, torch.bfloat16) if shown.frames == frames else None


def table(figures: Mapping[str, float]) -> str:
    """A Markdown table of `what_fits`."""
    lines = [
        f"One video a step, bf16, adapters of rank 8, {ANSWER_TOKENS} tokens of answer:",
        "",
        "| model | frames × tokens | tokens of a sample | GiB | TFLOP | cached: GiB | TFLOP |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in (k.removesuffix("/gib") for k in figures if k.endswith("/gib")):
        size, shown = key.split("/")
        one = {name: figures[f"{key}/{name}"] for name in FIGURES}
        lines.append(
            f"| {size} | {shown.replace('x', ' × ')} | {one['tokens']:,.0f} | {one['gib']:.1f} | {one['tflop']:.1f} | "
            f"{one['cached_gib']:.1f} | {one['cached_tflop']:.1f} |"
        )
    return "\n".join(lines)
