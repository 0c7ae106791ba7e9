"""What one training step holds in memory and computes, found without weights, data or a GPU.

The real model, adapter, forward and fused loss run once on tensors that have a shape but no numbers
(torch's FakeTensorMode), while every storage is counted from its birth to its death. What is not a
tensor, as the CUDA context and what the allocator cannot use, is a stated `overhead`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
from trl.trainer.utils import add_fused_lm_head

from train import forward
from train.config import TrainConfig
from train.live_bytes import LiveBytes, count_weights, parts_at_work
from train.model import NOT_QUANTISED, cast_by_autocast, set_trainable

BLOCK, NESTED_BLOCK = 64, 256
"""4-bit weights share a scale in blocks of 64, and 256 of these scales share another."""
SMALL_STATE = 4096
"""Tensors with fewer numbers keep 32-bit states in an 8-bit optimizer (bitsandbytes)."""


@dataclass(frozen=True)
class Load:
    """The largest batch that a step sees."""

    frames: int
    """Of each sample."""
    tokens: int
    """Of each sample, frames included."""
    answer_tokens: int
    batch: int = 1
    """Samples, side by side; packed, one after the other."""
    packed: bool = False
    cached: bool = False
    """Features in place of frames: after the connector if it is frozen."""


@dataclass(frozen=True)
class Estimate:
    """One step of a run. Bytes and FLOPs are of a forward and backward pass of one batch."""

    peak_bytes: int
    parts: dict[str, int]
    """What the bytes at the peak belong to."""
    tflop: float


class Packed4Bit(torch.nn.Linear):
    """A 4-bit layer as far as memory goes: half a byte a weight, unpacked for each product."""

    def __init__(self, layer: torch.nn.Linear):
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        count = layer.weight.numel()
        size = count // 2 + count // BLOCK + 4 * (count // BLOCK // NESTED_BLOCK + 1)
        self.weight = torch.nn.Parameter(torch.empty(size, dtype=torch.uint8), requires_grad=False)
        self.dtype = layer.weight.dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Unpacked.apply(x.to(self.dtype), self.out_features, self.in_features)


class _Unpacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        ctx.shape = rows, columns
        return x @ torch.empty(rows, columns, dtype=x.dtype).t()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0] @ torch.empty(*ctx.shape, dtype=gradients[0].dtype), None, None


def estimate(
    shape: SmolVLMConfig, config: TrainConfig, load: Load, compute: torch.dtype
) -> Estimate:
    """Memory and FLOPs of a step.

    Args:
        compute: precision of activations and frozen weights, as `train.model.pick_precision` says.
    """
    with torch.device("meta"):
        model, trained = _model(shape, config, compute)
    with FakeTensorMode():
        _without_numbers(trained)
        bytes_ = LiveBytes()
        count_weights(trained, bytes_, without_tower=load.cached)
        _count_optimizer(trained, bytes_, config)
        connector_trains = any(p.requires_grad for p in model.model.connector.parameters())
        batch = _batch(model, load, compute, connector_trains=connector_trains)
        for tensor in batch.values():
            bytes_.own(tensor, "inputs")
        with parts_at_work(model, bytes_):
            step(trained, batch, bytes_, compute, offload=config.train.offload)
        parts = dict(sorted(bytes_.at_peak.items(), key=lambda item: -item[1]))
        mask = 0
        if load.packed and load.batch > 1:  # a dense one, and what the attention kernel makes of it
            mask = _rows(load)[1] ** 2 * (1 + compute.itemsize)
            parts["attention mask"] = mask
        return Estimate(bytes_.peak + mask, parts, bytes_.flop / 1e12)


def step(
    trained: torch.nn.Module,
    batch: dict[str, torch.Tensor],
    bytes_: LiveBytes,
    compute: torch.dtype,
    *,
    offload: bool = False,
) -> None:
    """Forward and backward of one batch under the counter, as the trainer does them; empties `batch`."""
    kept = _offloaded(trained) if offload else contextlib.nullcontext()
    with bytes_:
        with kept, torch.autocast("cpu", compute, enabled=compute is not torch.float32):
            out = trained(**batch, use_cache=False, fused_lm_head=True)
            loss = -out.log_probs.sum()
        del out
        batch.clear()  # so does the trainer
        bytes_.part = "backward"
        loss.backward()
        bytes_.part = "other"


def _rows(load: Load) -> tuple[int, int]:
    return (1, load.batch * load.tokens) if load.packed else (load.batch, load.tokens)


def _model(
    shape: SmolVLMConfig, config: TrainConfig, compute: torch.dtype
) -> tuple[SmolVLMForConditionalGeneration, torch.nn.Module]:
    """The model as `load_model` and `set_trainable` make it, with no numbers in it."""
    method = config.train.method
    whole = method == "full" and config.model.dtype != "bf16"
    model = SmolVLMForConditionalGeneration._from_config(
        shape, dtype=torch.float32 if whole else compute, attn_implementation="sdpa"
    )
    if method == "qlora":
        for name, layer in list(model.named_modules()):
            if isinstance(layer, torch.nn.Linear) and not name.startswith(tuple(NOT_QUANTISED)):
                model.set_submodule(name, Packed4Bit(layer))
    image_token = shape.image_token_id
    # the stock check compares numbers, and there are none
    model.model.get_placeholder_mask = lambda ids, **_: (ids == image_token).unsqueeze(-1)
    trained = set_trainable(model, method, config.lora, config.optim).train()
    if compute is not torch.float32:
        cast_by_autocast(trained)
    if config.train.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    forward.install(
        model,
        lambda frames: (frames.float() - 127.5) / 127.5,
        frames_at_once=config.train.frames_at_once,
    )
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model, trained


def _without_numbers(model: torch.nn.Module) -> None:
    """Weights with a shape on the `meta` device → weights with a shape on a pretended CPU."""
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            data = torch.empty_strided(p.shape, p.stride(), dtype=p.dtype)
            module.register_parameter(name, torch.nn.Parameter(data, requires_grad=p.requires_grad))
        for name, b in list(module.named_buffers(recurse=False)):
            kept = name not in module._non_persistent_buffers_set
            module.register_buffer(name, torch.empty(b.shape, dtype=b.dtype), persistent=kept)


def _batch(
    model: SmolVLMForConditionalGeneration,
    load: Load,
    compute: torch.dtype,
    *,
    connector_trains: bool,
) -> dict[str, torch.Tensor]:
    rows, length = _rows(load)
    answers = load.batch * load.answer_tokens
    frames = load.batch * load.frames
    vision: Any = model.config.vision_config
    text: Any = model.config.text_config
    batch = {
        "input_ids": torch.zeros(rows, length, dtype=torch.int64),
        "answers": torch.zeros(answers, dtype=torch.int64),
        "shift_labels": torch.zeros(1, answers, dtype=torch.int64),
    }
    if not load.cached:
        side = vision.image_size
        batch["frames"] = torch.zeros(frames, 3, side, side, dtype=torch.uint8)
    elif connector_trains:
        patches = (vision.image_size // vision.patch_size) ** 2
        batch["features"] = torch.zeros(frames, patches, vision.hidden_size, dtype=compute)
    else:
        batch["features"] = torch.zeros(
            frames, model.model.image_seq_len, text.hidden_size, dtype=compute
        )
    return batch


def _count_optimizer(trained: torch.nn.Module, bytes_: LiveBytes, config: TrainConfig) -> None:
    """Adam's two moments; gradients that earlier passes of the same step left; a hook for new ones."""
    kept: list[torch.Tensor] = []
    for p in trained.parameters():
        if not p.requires_grad:
            continue
        small = config.optim.name == "adamw" or p.numel() < SMALL_STATE
        if small:
            size = 2 * 4 * p.numel()
        elif config.optim.name == "adamw_8bit":
            size = 2 * (p.numel() + 4 * (p.numel() // NESTED_BLOCK + 1))
        else:
            size = 0  # paged: it leaves the GPU when the step needs room
        if size:
            kept.append(torch.empty(size, dtype=torch.uint8))
            bytes_.own(kept[-1], "optimizer")
        if config.train.accumulate > 1:
            p.grad = torch.zeros_like(p)
            bytes_.own(p.grad, "gradients")
        p.register_post_accumulate_grad_hook(lambda p: bytes_.own(p.grad, "gradients"))
    trained._kept_states = kept  # type: ignore[assignment]  # they live as long as the model


def _offloaded(trained: torch.nn.Module) -> contextlib.AbstractContextManager[Any]:
    """What autograd keeps goes to the computer's memory and comes back when backward needs it."""
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
