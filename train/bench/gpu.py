"""What fits on a small card and how fast it is: real steps at the published shapes, memory capped."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from tqdm import tqdm
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMVideoProcessor

from data.config import GIB, load
from data.errors import UserError, first_line
from train.batches.encode import rescale
from train.bench.config import BenchGpuConfig
from train.bench.real_steps import batch_of
from train.config import TrainConfig
from train.console import say
from train.loop.arguments import parameter_groups
from train.memory.config import MODELS, Size
from train.memory.estimate import BatchShape
from train.memory.plan import MemoryPlan, batch_shape, plan
from train.memory.shapes import shape_of
from train.memory.training_model import four_bits, prepare_for_training
from train.model.load import weights_dtype
from train.sections import Method, ModelKeys

STEPS = 2
"""Timed, after one to warm up."""
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


@dataclass(frozen=True)
class GpuCase:
    """One thing to try."""

    size: Size
    method: Method
    frames: int
    stock: bool
    compute: torch.dtype

    @property
    def planned(self) -> GpuCase:
        """The case whose plan serves it."""
        return replace(self, stock=False)

    @property
    def name(self) -> str:
        precision = str(self.compute).removeprefix("torch.")
        return f"{self.size}/{self.method}/{self.frames}/{precision}/{'stock' if self.stock else 'ours'}"


def measure(
    config: BenchGpuConfig, written: Callable[[dict[str, Any]], None] = lambda figures: None
) -> dict[str, Any]:
    """Flat figures by case: `fits_gib` (the smallest cap, None if none), `peak_gib`, `planned_gib`,
    `seconds`, `videos_per_s`, `mfu` of what the card reached in a plain product; or `error`. All that
    there are go to `written` after each case, for a lent machine may be gone before the last.

    Raises:
        UserError: no CUDA device.
    """
    if not torch.cuda.is_available():
        raise UserError("no CUDA device here; scripts/plan.py predicts without one")
    end = time.monotonic() + 60 * config.minutes
    say(f"{torch.cuda.get_device_name()}; " + ", ".join(f"{p} {version(p)}" for p in PACKAGES))
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    best = torch.bfloat16 if native else torch.float16
    cases = _cases(config, best, native)
    plans = plans_of(cases)  # before the card is kept waiting
    reached = _product_tflops(best)
    figures: dict[str, Any] = {"card": torch.cuda.get_device_name(), "product_tflops": reached}
    say(f"a plain {best} product reaches {reached:.0f} TFLOP/s, 100 % in what follows")
    say(
        "| model | method | frames | precision | | fits GiB | peak GiB | planned | s a step | videos/s | MFU |"
    )
    say("|---|---|---|---|---|---|---|---|---|---|---|")
    left_out = []
    for case in tqdm(cases, desc="cases", unit="case"):
        if time.monotonic() > end:
            left_out.append(case.name)
            continue
        try:
            found: dict[str, Any] = _one(case, plans[case.planned], config.caps, reached)
            shown = ["–" if v is None else f"{v:.2f}" for v in found.values()]
        except Exception as error:  # noqa: BLE001 - whatever these versions cannot do on this card is a row
            found = {"error": f"{type(error).__name__}: {first_line(error)}"}
            shown = [found["error"]]
        figures |= {f"{case.name}/{key}": value for key, value in found.items()}
        say(f"| {' | '.join(case.name.split('/'))} | {' | '.join(shown)} |")
        gc.collect()
        torch.cuda.empty_cache()
        written({**figures, "left_out": len(cases) - cases.index(case) - 1})
    if left_out:
        say(f"skipped after {config.minutes:g} minutes: {', '.join(left_out)}")
    figures["left_out"] = len(left_out)
    return figures


def _cases(config: BenchGpuConfig, best: torch.dtype, native: bool) -> list[GpuCase]:
    every = itertools.product(config.models, config.methods, config.frames)
    cases = [GpuCase(s, m, k, stock, best) for s, m, k in every for stock in (False, True)]
    if not native:  # its recipe holds weights in bf16
        say("skipped: 2.2B/full: this card has no bf16")
        cases = [c for c in cases if (c.size, c.method) != ("2.2B", "full")]
    if native:  # the path of a T4, forced
        half = [GpuCase(s, "qlora", config.frames[0], False, torch.float16) for s in config.models]
        cases = [*cases[:2], *half, *cases[2:]]
    return cases


def plans_of(cases: Sequence[GpuCase]) -> dict[GpuCase, MemoryPlan]:
    """Of each size, method, frames and precision one, by its case of ours: TRL's way is held against it."""
    plans: dict[GpuCase, MemoryPlan] = {}
    for case in tqdm(list(dict.fromkeys(c.planned for c in cases)), desc="plans", unit="plan"):
        settings, shape, given = settings_of(case)
        plans[case] = plan(shape, settings, given, case.compute)
    return plans


def _one(
    case: GpuCase, planned: MemoryPlan, caps: tuple[float, ...], reached: float
) -> dict[str, float | None]:
    """Try under each cap until one suffices."""
    total = torch.cuda.get_device_properties(0).total_memory
    settings, shape, given = settings_of(case)
    found: dict[str, float | None] = dict.fromkeys(
        ("fits_gib", "peak_gib", "planned_gib", "seconds", "videos_per_s", "mfu")
    )
    found["planned_gib"] = planned.peak_gib if not case.stock else None
    for cap in sorted(caps):
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap * GIB / total))
        torch.cuda.reset_peak_memory_stats()
        try:
            seconds = steps(case, settings, shape, given, torch.device("cuda"))
        except torch.OutOfMemoryError:
            seconds = None
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        peak = torch.cuda.max_memory_allocated() / GIB
        gc.collect()
        torch.cuda.empty_cache()
        if seconds is not None:
            useful = (
                planned.estimate.tflop
            )  # what our step needs: the stock one computes more for it
            found |= {
                "fits_gib": cap,
                "peak_gib": peak,
                "seconds": seconds,
                "videos_per_s": 1 / seconds,
                "mfu": useful / seconds / reached,
            }
            break
    return found


def settings_of(case: GpuCase) -> tuple[TrainConfig, SmolVLMConfig, BatchShape]:
    argv = [
        f"model.name={MODELS[case.size]}",
        f"train.method={case.method}",
        "lora.r=8",
        "lora.alpha=16",
        "lora.dropout=0",
        "train.accumulate=1",
    ]
    if case.method == "full":
        argv += ["model.dtype=bf16", "optim.name=paged_adamw_8bit"] if case.size == "2.2B" else []
    config = load(TrainConfig, argv)
    shape = shape_of(ModelKeys(name=MODELS[case.size]))
    return config, shape, batch_shape(config.train, config.data, shape, case.frames, 300)


def steps(
    case: GpuCase,
    config: TrainConfig,
    shape: SmolVLMConfig,
    given: BatchShape,
    device: torch.device,
) -> float:
    """Seconds of a whole step (forward, backward, update), the last of a few."""
    base, trained = _model(case, config, shape, device)
    side = batch_of(shape, given)
    optimizer = _optimizer(trained, config)
    if device.type == "cuda":  # quantising what was drawn at full width is no part of a step
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    mixed = case.compute is not torch.float32
    scaler = torch.amp.GradScaler(device.type, enabled=case.compute is torch.float16)
    seconds = 0.0
    for _ in range(1 + STEPS):
        _wait(device)
        started = time.perf_counter()
        batch = {k: v.to(device, non_blocking=True) for k, v in side.items()}
        if case.stock:
            batch = _as_stock(batch, base)
        with torch.autocast(device.type, case.compute, enabled=mixed):
            out = trained(**batch, use_cache=False, fused_lm_head=True)
            loss = -out.log_probs.sum() / given.answer_tokens
        del out, batch
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_([p for p in trained.parameters() if p.grad is not None], 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        _wait(device)
        seconds = time.perf_counter() - started
    return seconds


def _model(
    case: GpuCase, config: TrainConfig, shape: SmolVLMConfig, device: torch.device
) -> tuple[SmolVLMForConditionalGeneration, Any]:
    """Random weights, made where they are used; then as the trainer makes a model ready."""
    weights = weights_dtype(config.model, case.method, case.compute)
    with device:
        base = SmolVLMForConditionalGeneration._from_config(
            shape, dtype=weights, attn_implementation="sdpa"
        )
    if case.method == "qlora":
        four_bits(base, partial(_four_bits, compute=case.compute, device=device))
    base.config.use_cache = False
    vision: Any = shape.vision_config
    video = SmolVLMVideoProcessor(max_image_size={"longest_edge": vision.image_size})
    scale = None if case.stock else partial(rescale, video=video)
    return base, prepare_for_training(base, config, case.compute, scale).to(device)


def _four_bits(layer: torch.nn.Linear, compute: torch.dtype, device: torch.device) -> Linear4bit:
    made = Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=compute, quant_type="nf4"
    )
    made.weight = Params4bit(
        layer.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
    )
    return made.to(device)


def _as_stock(
    batch: dict[str, torch.Tensor], base: SmolVLMForConditionalGeneration
) -> dict[str, torch.Tensor]:
    """The same batch as TRL's own collator would give it: float frames, labels for every token."""
    answers, targets, frames = (batch.pop(k) for k in ("answers", "shift_labels", "frames"))
    labels = torch.full_like(batch["input_ids"], -100)
    labels.view(-1)[answers + 1] = targets[0]
    pixels = (frames.float() - 127.5) / 127.5
    mask = torch.ones_like(batch["input_ids"])
    return {**batch, "labels": labels, "pixel_values": pixels[None], "attention_mask": mask}


def _optimizer(trained: Any, config: TrainConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(trained, config.optim)
    if config.optim.name == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

    return PagedAdamW8bit(groups) if config.optim.name == "paged_adamw_8bit" else AdamW8bit(groups)


def _product_tflops(dtype: torch.dtype, size: int = 8192) -> float:
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        a @ b
    torch.cuda.synchronize()
    return 10 * 2 * size**3 / (time.perf_counter() - started) / 1e12


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
