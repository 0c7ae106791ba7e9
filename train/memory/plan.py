"""Plan the peak memory of a run before its first step: whether it fits, and what would fit."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from transformers import SmolVLMConfig

from data.config import GIB
from data.errors import UserError
from train.batches.survey import Survey
from train.config import TrainConfig
from train.early_checks import check_context
from train.memory.devices import per_device
from train.memory.estimate import BatchShape, Estimate, estimates
from train.memory.shapes import shape_of
from train.model.connector import tokens_of
from train.model.load import Precision
from train.model.sharding import sharding
from train.sections import DataKeys, ModelKeys, TrainKeys

OVERHEAD_GIB = 0.7
"""CUDA context, kernels' workspaces and what the allocator cannot use."""
TEXT_TOKENS, TOKENS_BESIDE_A_FRAME = 60, 13
"""Tokens of a prompt without its frames; tokens of a frame's timestamp and markers."""
FRAME_COUNTS = (16, 32, 64)


@dataclass(frozen=True)
class MemoryPlan:
    """The planned memory and compute of a run."""

    shape: SmolVLMConfig
    compute: torch.dtype
    load: BatchShape
    estimate: Estimate

    @property
    def peak_gib(self) -> float:
        return self.estimate.peak_bytes / GIB + OVERHEAD_GIB

    @property
    def parts(self) -> dict[str, float]:
        """GiB at the peak by part, the largest first."""
        parts = {name: size / GIB for name, size in self.estimate.parts.items()}
        return dict(sorted({**parts, "overhead": OVERHEAD_GIB}.items(), key=lambda p: -p[1]))

    def line(self) -> str:
        largest = ", ".join(f"{name} {gib:.1f}" for name, gib in list(self.parts.items())[:4])
        load = self.load
        shared = f" on each of the devices, which share it by {how}" if (how := sharding()) else ""
        return (
            f"{self.peak_gib:.1f} GiB at most{' while generating' * self.estimate.describing}{shared} "
            f"({largest}, …), {self.estimate.tflop:.1f} TFLOP a pass of {describe_batch(load)}"
        )


def describe_batch(load: BatchShape) -> str:
    """The batch of one forward pass, in words."""
    if load.packed_tokens is not None:
        return f"{load.packed_tokens} tokens of packed videos with up to {load.frames} frames, {load.tokens} tokens each"
    shared = f" with {load.branches} answers" * (load.branches > 1)
    return f"{load.batch} × {load.frames} frames, {load.tokens} tokens each{shared}"


def batch_shape(
    train: TrainKeys, data: DataKeys, shape: SmolVLMConfig, frames: int, answer_tokens: int
) -> BatchShape:
    """The batch of a run whose videos have `frames` frames each."""
    each = tokens_of(shape) + TOKENS_BESIDE_A_FRAME
    tokens = frames * each + TEXT_TOKENS + answer_tokens
    if tokens > data.max_tokens:  # drop whole frames
        frames = max(1, (data.max_tokens - TEXT_TOKENS - answer_tokens) // each)
        tokens = frames * each + TEXT_TOKENS + answer_tokens
    return _load(train, data, frames, tokens, answer_tokens)


def batch_shape_of_data(train: TrainKeys, data: DataKeys, survey: Survey) -> BatchShape:
    """The largest batch that a prepared dataset can give."""
    tokens, frames, answers = max(survey.tokens), max(survey.frames), max(survey.answers)
    if train.pack:  # a row of short videos may have more frames and answers than the longest video
        frames, answers = (
            math.ceil(tokens * max(n / all_ for n, all_ in zip(counts, survey.tokens, strict=True)))
            for counts in (survey.frames, survey.answers)
        )
    load = _load(train, data, frames, tokens, answers)
    return replace(load, branches=survey.branches, reference=survey.reference)


def _load(
    train: TrainKeys, data: DataKeys, frames: int, tokens: int, answer_tokens: int
) -> BatchShape:
    row = max(train.pack_tokens, tokens) if train.pack else None
    return BatchShape(frames, tokens, answer_tokens, train.batch, row, data.features)


def plan(
    shape: SmolVLMConfig, config: TrainConfig, load: BatchShape, compute: torch.dtype
) -> MemoryPlan:
    """The plan of a step on one device, with sharding over devices (`train.model.sharding`).

    Raises:
        UserError: data.max_tokens exceeds the model's context.
    """
    return plans(shape, config, [load], compute)[0]


def plans(
    shape: SmolVLMConfig, config: TrainConfig, loads: Sequence[BatchShape], compute: torch.dtype
) -> list[MemoryPlan]:
    """`plan` of each batch, sooner than one after another."""
    positions: Any = shape.text_config
    check_context(config.data, positions.max_position_embeddings)
    found = estimates(shape, config, loads, compute)
    return [
        MemoryPlan(shape, compute, load, per_device(one))
        for load, one in zip(loads, found, strict=True)
    ]


def largest(
    shape: SmolVLMConfig,
    config: TrainConfig,
    answer_tokens: int,
    compute: torch.dtype,
    gib: float,
) -> dict[int, int]:
    """Frames → the largest batch that fits into `gib`; 0 if not even one video does.

    Memory is linear in the batch size, so that two plans give the line. Generation has its own batch
    size and is checked separately.
    """
    alone = _with(config, "train", pack=False, batch=1)
    steps_only = _with(alone, "eval", generate_every=None)
    loads = []
    for frames in FRAME_COUNTS:
        load = batch_shape(alone.train, alone.data, shape, frames, answer_tokens)
        if load.frames < frames:
            break
        loads.append(load)
    if not loads:
        return {}
    steps = plans(
        shape, steps_only, [replace(load, batch=b) for load in loads for b in (2, 3)], compute
    )
    found: dict[int, int] = {}
    for load, two, three in zip(loads, steps[::2], steps[1::2], strict=True):
        more = three.peak_gib - two.peak_gib
        found[load.frames] = max(0, math.floor((gib - two.peak_gib) / more) + 2)
    if config.eval.generate_every is not None:
        for load, one in zip(loads, plans(shape, alone, loads, compute), strict=True):
            if one.peak_gib > gib:
                found[load.frames] = 0
    return found


def without_checkpointing(
    shape: SmolVLMConfig, config: TrainConfig, load: BatchShape, compute: torch.dtype, gib: float
) -> MemoryPlan | None:
    """The plan without gradient checkpointing, which spares FLOPs; None: it does not fit, or the run has none."""
    if not config.train.checkpointing:
        return None
    found = plan(shape, _with(config, "train", checkpointing=False), load, compute)
    return found if found.peak_gib <= gib else None


def advice(
    shape: SmolVLMConfig, config: TrainConfig, load: BatchShape, compute: torch.dtype, gib: float
) -> list[str]:
    """Changes with which the run would fit, each as `key=value (x GiB)`; the mildest first."""
    changes: list[tuple[str, TrainConfig, BatchShape]] = []
    smaller = load
    if not config.train.checkpointing:
        changes.append(
            ("train.checkpointing=true", _with(config, "train", checkpointing=True), load)
        )
    if config.eval.generate_every is not None and config.eval.batch > 1:
        changes.append(("eval.batch=1", _with(config, "eval", batch=1), load))
    if load.packed_tokens is not None and load.samples > 1:
        smaller = replace(load, packed_tokens=load.tokens)
        keys = f"train.pack_tokens={load.tokens}"
        changes.append((keys, _with(config, "train", pack_tokens=load.tokens), smaller))
    elif load.batch > 1:
        more = config.train.accumulate * config.train.batch
        smaller = replace(load, batch=1)
        keys = f"train.batch=1 train.accumulate={more}"
        changes.append((keys, _with(config, "train", batch=1, accumulate=more), smaller))
    if config.train.method == "full" and config.optim.name != "paged_adamw_8bit":
        paged = _with(config, "optim", name="paged_adamw_8bit")
        changes.append(("optim.name=paged_adamw_8bit", paged, smaller))
        half = _with(paged, "model", dtype="bf16")
        if compute is torch.bfloat16:
            changes.append(("optim.name=paged_adamw_8bit model.dtype=bf16", half, smaller))
    if config.train.method != "qlora" and config.optim.lr > 0:
        rates = {"lr_vision": None, "lr_connector": None}
        # with fewer tokens a frame the connector must train
        whole = config.lora.connector or config.model.tokens_a_frame is not None
        connector = " lora.connector=true" * (whole and not config.lora.connector)
        for method in ("lora", "qlora"):
            if method != config.train.method:
                other = _with(_with(config, "train", method=method), "optim", **rates)
                other = _with(other, "lora", connector=whole)
                changes.append((f"train.method={method}{connector}", other, smaller))
    if smaller.frames > 8:
        each = tokens_of(shape) + TOKENS_BESIDE_A_FRAME
        tokens = max(smaller.answer_tokens + each, smaller.tokens - (smaller.frames - 8) * each)
        few = replace(smaller, frames=8, tokens=tokens, packed_tokens=None)
        packs = f" train.pack_tokens={tokens}" if load.packed_tokens is not None else ""
        changes.append((f"frames.max=8 (when preparing){packs}", config, few))
    fitting = []
    for keys, changed, with_load in changes:
        peak = plan(shape, changed, with_load, compute).peak_gib
        if peak <= gib:
            fitting.append(f"{keys} ({peak:.1f} GiB)")
    return fitting


def check_fits(
    config: TrainConfig, model: ModelKeys, survey: Survey, precision: Precision
) -> MemoryPlan:
    """The plan of a run that is about to start, on this machine.

    Raises:
        UserError: it does not fit into the free memory; the message says what would.
    """
    shape = shape_of(model)
    load = batch_shape_of_data(config.train, config.data, survey)
    found = plan(shape, config, load, precision.compute)
    free = free_gib(precision.device)
    if found.peak_gib > free and not config.train.force:
        raise UserError(
            f"this run needs {found.line()}; {free:.1f} GiB are free here. "
            f"{_remedy(advice(shape, config, load, precision.compute, free))} (train.force=true tries anyway)"
        )
    return found


def free_gib(device: str) -> float:
    """Free memory of the GPU, or of the computer where there is none."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / GIB
    return float(psutil.virtual_memory().available) / GIB


@contextlib.contextmanager
def out_of_memory_explained(found: MemoryPlan | None, config: TrainConfig) -> Iterator[None]:
    """Explain an out-of-memory error: the plan, the measured peak, and what to change.

    Raises:
        UserError: instead of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        on_cpu = "can't allocate memory" in str(error)
        if found is None or not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
            raise
        measured = ""
        if torch.cuda.is_available():
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            most = torch.cuda.max_memory_allocated() / GIB
            measured = f", measured {most:.1f} of this card's {total:.1f} GiB"
        goal = OVERHEAD_GIB + 0.85 * (found.peak_gib - OVERHEAD_GIB)
        would = advice(found.shape, config, found.load, found.compute, goal)
        raise UserError(
            f"out of memory: planned {found.line()}{measured}. {_remedy(would)}; then train.resume=true "
            "continues from the last checkpoint"
        ) from None


def _remedy(would: Sequence[str]) -> str:
    return f"It fits with {', or '.join(would)}" if would else "Take a smaller model or card"


def _with(config: TrainConfig, section: str, **values: object) -> TrainConfig:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})
