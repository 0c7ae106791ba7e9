"""Estimate peak memory and FLOPs of one training step, without weights, data or a GPU.

The real model, adapter, forward and fused loss run once on tensors that have a shape but no values
(torch's FakeTensorMode). Every storage is counted from its allocation to its release. Memory that is
no tensor, such as the CUDA context and what the allocator cannot use, is a fixed `overhead`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from train.config import TrainConfig
from train.memory.live_bytes import (
    LiveBytes,
    attribute_to_modules,
    count_weights,
    run_each_kind_once,
)
from train.memory.meta_model import (
    NESTED_BLOCK,
    WITHOUT_MASK,
    build_on_meta,
    move_meta_to_fake_cpu,
)
from train.memory.repeated_layers import pretend_between
from train.model.muon import trains_by_muon
from train.model.sharding import gathered_bytes
from train.run.state import devices
from train.sections import EvalKeys, Method, OptimKeys

SMALL_STATE = 4096
"""Tensors with fewer elements keep 32-bit states in an 8-bit optimizer (bitsandbytes)."""


@dataclass(frozen=True)
class BatchShape:
    """The largest batch that a step sees."""

    frames: int
    """Frames of each sample."""
    tokens: int
    """Tokens of each sample, frames included."""
    answer_tokens: int
    batch: int = 1
    """Samples in one padded batch."""
    packed_tokens: int | None = None
    """With packing: tokens of the one row, which holds as many samples as fit."""
    cached: bool = False
    """Cached features in place of frames: the connector's output if it is frozen, else the tower's."""

    branches: int = 1
    """Answers that share a prompt (`train.batches.trees`); of several, `answer_tokens` counts all."""
    reference: bool = False
    """What trains has a frozen copy beside it."""

    @property
    def samples(self) -> float:
        """Samples in one forward pass; with packing it may be a fraction, as shorter samples fill the row."""
        return self.batch if self.packed_tokens is None else self.packed_tokens / self.tokens


@dataclass(frozen=True)
class Estimate:
    """Peak memory and FLOPs of one forward and backward pass of one batch."""

    peak_bytes: int
    parts: dict[str, int]
    """Bytes at the peak by part: weights, gradients, activations and so on."""
    tflop: float
    describing: bool = False
    """True: the peak is not in a training step but while held-out videos are described."""
    gradient_bytes: int = 0
    """Gradients of all weights that train."""
    gathered_bytes: int = 0
    """Weights that each device gathers at once if they are sharded (`train.model.sharding`)."""


def estimate(
    shape: SmolVLMConfig, config: TrainConfig, load: BatchShape, compute: torch.dtype
) -> Estimate:
    """Peak memory and FLOPs of a step.

    Args:
        compute: precision of activations and frozen weights, as `train.model.load.pick_precision` says.
    """
    return estimates(shape, config, [load], compute)[0]


def estimates(
    shape: SmolVLMConfig, config: TrainConfig, loads: Sequence[BatchShape], compute: torch.dtype
) -> list[Estimate]:
    """`estimate` of each batch, with one model for all: building it takes as long as a step. All are cached, or none is."""
    model, trained = build_on_meta(shape, config, compute)
    with FakeTensorMode():
        move_meta_to_fake_cpu(trained)
        bytes_ = LiveBytes()
        without_tower = loads[0].cached and config.leaves_tower_out(devices())
        count_weights(trained, bytes_, without_tower=without_tower)
        _count_optimizer(trained, bytes_, config.optim)
        run_each_kind_once(model.model.vision_model.encoder.layers, bytes_)
        layers = model.model.text_model.layers
        kept = pretend_between(layers, bytes_, checkpointing=config.train.checkpointing)
        return [_of_batch(model, trained, config, one, compute, bytes_, kept) for one in loads]


def _of_batch(
    model: SmolVLMForConditionalGeneration,
    trained: torch.nn.Module,
    config: TrainConfig,
    load: BatchShape,
    compute: torch.dtype,
    bytes_: LiveBytes,
    kept: list[torch.Tensor],
) -> Estimate:
    if config.model.attention != "eager":
        several = load.branches > 1 or (load.packed_tokens is not None and load.samples > 1)
        model.set_attn_implementation("sdpa" if several else WITHOUT_MASK)
    _clear_gradients(trained.train(), bytes_, config.train.accumulate)
    bytes_.flop = 0
    bytes_.reset_peak()
    connector_trains = any(p.requires_grad for p in model.model.connector.parameters())
    batch = _batch(model, load, compute, connector_trains=connector_trains)
    for tensor in batch.values():
        bytes_.track(tensor, "inputs")
    with attribute_to_modules(model, bytes_):
        step(trained, batch, bytes_, compute, offload=config.train.offload, kept=kept)
    reference = _reference_bytes(trained, config.train.method) if load.reference else 0
    beside = {"reference": reference} if reference else {}
    parts, peak = bytes_.parts_at_peak() | beside, bytes_.peak + reference
    loaded = sum(t.nbytes for t in (*trained.parameters(), *trained.buffers()))
    if loaded > peak:  # the vision tower is loaded before it leaves the device
        peak, parts = loaded, {"weights": loaded}
    training = Estimate(
        peak,
        parts,
        bytes_.flop / 1e12,
        gradient_bytes=sum(p.nbytes for p in trained.parameters() if p.requires_grad),
        gathered_bytes=gathered_bytes(trained),
    )
    if config.eval.generate_every is None:
        return training
    del batch
    _generate(model, trained, config.eval, load, bytes_, compute)
    parts = bytes_.parts_at_peak() | beside
    describing = replace(training, peak_bytes=bytes_.peak + reference, parts=parts, describing=True)
    return max(training, describing, key=lambda e: e.peak_bytes)


def _reference_bytes(trained: torch.nn.Module, method: Method) -> int:
    """The frozen copy of an adapter and a connector beside it, or a whole second model."""
    whole = method == "full"
    return sum(p.nbytes for p in trained.parameters() if whole or p.requires_grad)


def step(
    trained: torch.nn.Module,
    batch: dict[str, torch.Tensor],
    bytes_: LiveBytes,
    compute: torch.dtype,
    *,
    offload: bool = False,
    kept: list[torch.Tensor] | None = None,
) -> None:
    """Count the forward and backward pass of one batch, as the trainer runs them. Empties `batch`, and
    empties `kept` where autocast frees its casts."""
    saved = _offloaded(trained) if offload else contextlib.nullcontext()
    with bytes_:
        with saved, torch.autocast("cpu", compute, enabled=compute is not torch.float32):
            out = trained(**batch, use_cache=False, fused_lm_head=True)
            loss = -out.log_probs.sum()
        if kept is not None:
            kept.clear()
        del out
        batch.clear()  # as the trainer does
        bytes_.part = "backward"
        loss.backward()
        bytes_.part = "other"


def _generate(
    model: SmolVLMForConditionalGeneration,
    trained: torch.nn.Module,
    keys: EvalKeys,
    load: BatchShape,
    bytes_: LiveBytes,
    compute: torch.dtype,
) -> None:
    """Count the generation for a batch of held-out videos: all prompts at once, then the KV cache of new
    tokens."""
    for p in trained.parameters():
        p.grad = None
    bytes_.reset_peak()
    videos, tokens = keys.batch, load.tokens - load.answer_tokens
    frames = _frames(model, videos * load.frames)
    bytes_.track(frames, "inputs")
    ids = torch.zeros(videos, tokens, dtype=torch.int64)
    with torch.no_grad(), torch.autocast("cpu", compute, enabled=compute is not torch.float32):
        with attribute_to_modules(model, bytes_), bytes_:
            out = trained.eval()(input_ids=ids, frames=frames, use_cache=True, logits_to_keep=1)
        mask = videos * tokens**2 if videos > 1 else 0  # hides the padding of shorter prompts
        new = cache_bytes(model.config, videos * keys.max_new_tokens, compute)
        bytes_.track(torch.empty(new + mask, dtype=torch.uint8), "keys, values of new words")
    del out


def cache_bytes(shape: SmolVLMConfig, tokens: int, compute: torch.dtype) -> int:
    """Bytes of the KV cache of `tokens` tokens in all layers."""
    text: Any = shape.text_config
    head = text.hidden_size // text.num_attention_heads
    return int(
        2 * text.num_hidden_layers * text.num_key_value_heads * head * compute.itemsize * tokens
    )


def _frames(model: SmolVLMForConditionalGeneration, count: int) -> torch.Tensor:
    vision: Any = model.config.vision_config
    return torch.zeros(count, 3, vision.image_size, vision.image_size, dtype=torch.uint8)


def _batch(
    model: SmolVLMForConditionalGeneration,
    load: BatchShape,
    compute: torch.dtype,
    *,
    connector_trains: bool,
) -> dict[str, torch.Tensor]:
    answers = math.ceil(load.samples * load.answer_tokens)
    frames = math.ceil(load.samples * load.frames)
    vision: Any = model.config.vision_config
    text: Any = model.config.text_config
    batch = {
        "input_ids": torch.zeros(load.batch, load.packed_tokens or load.tokens, dtype=torch.int64),
        "answers": torch.zeros(answers, dtype=torch.int64),
        "shift_labels": torch.zeros(1, answers, dtype=torch.int64),
    }
    if not load.cached:
        batch["frames"] = _frames(model, frames)
    elif connector_trains:
        patches = (vision.image_size // vision.patch_size) ** 2
        batch["features"] = torch.zeros(frames, patches, vision.hidden_size, dtype=compute)
    else:
        batch["features"] = torch.zeros(
            frames, model.model.image_seq_len, text.hidden_size, dtype=compute
        )
    return batch


def _clear_gradients(trained: torch.nn.Module, bytes_: LiveBytes, accumulate: int) -> None:
    """Leave no gradients or, with gradient accumulation, those of earlier forward passes."""
    for p in trained.parameters():
        p.grad = None
        if p.requires_grad and accumulate > 1:
            p.grad = torch.zeros_like(p)
            bytes_.track(p.grad, "gradients")


def _count_optimizer(trained: torch.nn.Module, bytes_: LiveBytes, optim: OptimKeys) -> None:
    """Count Adam's two moments (Muon has one). A hook counts new gradients."""
    kept: list[torch.Tensor] = []
    for name, p in trained.named_parameters():
        if not p.requires_grad:
            continue
        if optim.name == "muon" and trains_by_muon(name, p):
            size = 4 * p.numel()
        elif optim.name in ("adamw", "muon") or p.numel() < SMALL_STATE:
            size = 2 * 4 * p.numel()
        elif optim.name == "adamw_8bit":
            size = 2 * (p.numel() + 4 * (p.numel() // NESTED_BLOCK + 1))
        else:
            size = 0  # paged: it leaves the GPU when the step needs room
        if size:
            kept.append(torch.empty(size, dtype=torch.uint8))
            bytes_.track(kept[-1], "optimizer")
        p.register_post_accumulate_grad_hook(lambda p: bytes_.track(p.grad, "gradients"))
    trained._kept_states = kept  # type: ignore[assignment]  # they live as long as the model


def _offloaded(trained: torch.nn.Module) -> contextlib.AbstractContextManager[Any]:
    """A context that offloads what autograd saves to CPU memory, until backward needs it."""
    weights = {p.untyped_storage()._cdata for p in trained.parameters()}

    def pack(tensor: torch.Tensor) -> Any:
        if tensor.untyped_storage()._cdata in weights or tensor.numel() < 1024:
            return tensor
        return tensor.shape, tensor.stride(), tensor.dtype

    def unpack(kept: Any) -> torch.Tensor:
        if isinstance(kept, torch.Tensor):
            return kept
        return torch.empty_strided(kept[0], kept[1], dtype=kept[2])

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
