"""Memory and speed of training on a small card: real steps at the published shapes, with capped memory."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from tqdm import tqdm
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMVideoProcessor

from data.config import GIB, load
from data.errors import UserError, first_line
from train.batches.frames import rescale
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
from train.run.state import versions
from train.sections import Method, ModelKeys, OptimKeys

STEPS = 2
"""Number of timed steps, after one warm-up step."""


@dataclass(frozen=True)
class GpuCase:
    """One case to measure; `stock`: with the stock forward of transformers instead of ours."""

    size: Size
    method: Method
    frames: int
    stock: bool
    compute: torch.dtype

    @property
    def planned(self) -> GpuCase:
        """The case whose memory plan applies to this one."""
        return replace(self, stock=False)

    @property
    def name(self) -> str:
        precision = str(self.compute).removeprefix("torch.")
        return f"{self.size}/{self.method}/{self.frames}/{precision}/{'stock' if self.stock else 'ours'}"


def measure(
    config: BenchGpuConfig, written: Callable[[dict[str, Any]], None] = lambda figures: None
) -> dict[str, Any]:
    """Flat figures by case: `fits_gib` (the smallest cap that suffices, None if none does), `peak_gib`,
    `planned_gib`, `seconds`, `videos_per_s`, `mfu` (relative to a plain matrix product on this card); or
    `error`. After each case, all figures so far go to `written`: a lent machine may be gone before the last.

    Raises:
        UserError: no CUDA device.
    """
    if not torch.cuda.is_available():
        raise UserError("no CUDA device here; scripts/plan.py predicts without one")
    end = time.monotonic() + 60 * config.minutes
    installed = ", ".join(f"{name} {number}" for name, number in versions().items())
    say(f"{torch.cuda.get_device_name()}; {installed}")
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    best = torch.bfloat16 if native else torch.float16
    cases = _cases(config, best, native)
    plans = plans_of(cases)  # planned first, so that the card does not wait
    reached = _product_tflops(best)
    figures: dict[str, Any] = {"card": torch.cuda.get_device_name(), "product_tflops": reached}
    say(f"a plain {best} matrix product reaches {reached:.0f} TFLOP/s; MFU below is relative to it")
    say(
        "| model | method | frames | precision | forward | fits GiB | peak GiB | planned GiB | s/step | videos/s | MFU |"
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
        except Exception as error:  # noqa: BLE001 - a case that fails on this card is a row of the table
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
    if not native:  # its recipe keeps weights in bf16
        say("skipped: 2.2B/full: this card has no bf16")
        cases = [c for c in cases if (c.size, c.method) != ("2.2B", "full")]
    if native:  # also fp16, as on a T4
        half = [GpuCase(s, "qlora", config.frames[0], False, torch.float16) for s in config.models]
        cases = [*cases[:2], *half, *cases[2:]]
    return cases


def plans_of(cases: Sequence[GpuCase]) -> dict[GpuCase, MemoryPlan]:
    """A plan per size, method, frames and precision, by its case with our forward; TRL's is held to it."""
    plans: dict[GpuCase, MemoryPlan] = {}
    for case in tqdm(list(dict.fromkeys(c.planned for c in cases)), desc="plans", unit="plan"):
        settings, shape, given = settings_of(case)
        plans[case] = plan(shape, settings, given, case.compute)
    return plans


def _one(
    case: GpuCase, planned: MemoryPlan, caps: tuple[float, ...], reached: float
) -> dict[str, float | None]:
    """Figures of a case under the smallest cap that suffices."""
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
            )  # of our step: the stock one computes more for the same result
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
        "train.accumulate=1",
    ]
    if case.method != "full":
        argv += ["lora.r=8", "lora.alpha=16", "lora.dropout=0"]
    else:
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
    """Seconds of a whole step (forward, backward, update): the last of `1 + STEPS`."""
    base, trained = _model(case, config, shape, device)
    host_batch = batch_of(shape, given)
    optimizer = _optimizer(trained, config.optim)
    if device.type == "cuda":  # the peak of quantising full-width weights is not part of a step
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    mixed = case.compute is not torch.float32
    scaler = torch.amp.GradScaler(device.type, enabled=case.compute is torch.float16)
    seconds = 0.0
    for _ in range(1 + STEPS):
        _wait(device)
        started = time.perf_counter()
        batch = {k: v.to(device, non_blocking=True) for k, v in host_batch.items()}
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
    """A model with random weights, made on `device`: the base, and the same prepared as the trainer does."""
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
    """The batch in the form of TRL's own collator: float frames, labels for every token."""
    answers, targets, frames = (batch.pop(k) for k in ("answers", "shift_labels", "frames"))
    labels = torch.full_like(batch["input_ids"], -100)
    labels.view(-1)[answers + 1] = targets[0]
    pixels = (frames.float() - 127.5) / 127.5
    mask = torch.ones_like(batch["input_ids"])
    return {**batch, "labels": labels, "pixel_values": pixels[None], "attention_mask": mask}


def _optimizer(trained: Any, optim: OptimKeys) -> torch.optim.Optimizer:
    groups = parameter_groups(trained, optim)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

    return PagedAdamW8bit(groups) if optim.name == "paged_adamw_8bit" else AdamW8bit(groups)


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
