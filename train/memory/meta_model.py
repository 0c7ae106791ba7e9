"""The model of a run on the meta device: shapes without values, for the memory plan."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from train.config import TrainConfig
from train.memory.training_model import four_bits, prepare_for_training
from train.model.load import weights_dtype

WITHOUT_MASK = "sdpa_without_mask"
"""`sdpa` for which transformers makes no mask. It makes none for rows of one sample either, but cannot tell from tensors
without values that they are."""
AttentionInterface.register(WITHOUT_MASK, sdpa_attention_forward)
BLOCK, NESTED_BLOCK = 64, 256
"""A block of 64 4-bit weights shares a scale; a block of 256 scales shares a second-level scale."""


def build_on_meta(
    shape: SmolVLMConfig, config: TrainConfig, compute: torch.dtype
) -> tuple[SmolVLMForConditionalGeneration, torch.nn.Module]:
    """(base model, model in training) on the meta device, as `load_model` and the trainer make them."""
    weights = weights_dtype(config.model, config.train.method, compute)
    with torch.device("meta"):
        # FlashAttention has no kernel for the meta device; sdpa keeps as few activations
        kernel = "eager" if config.model.attention == "eager" else "sdpa"
        model = SmolVLMForConditionalGeneration._from_config(
            shape, dtype=weights, attn_implementation=kernel
        )
        if config.train.method == "qlora":
            four_bits(model, Packed4Bit)
        image_token = shape.image_token_id
        # the stock check compares values, and meta tensors have none
        model.model.get_placeholder_mask = lambda ids, **_: (ids == image_token).unsqueeze(-1)
        trained = prepare_for_training(model, config, compute, rescale)
    return model, trained


def rescale(frames: torch.Tensor) -> torch.Tensor:
    """As `train.batches.frames.normalise`, without a processor."""
    return (frames.float() - 127.5) / 127.5


def move_meta_to_fake_cpu(model: torch.nn.Module) -> None:
    """Replace weights on the meta device by fake weights on the CPU (inside FakeTensorMode)."""
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            data = torch.empty_strided(p.shape, p.stride(), dtype=p.dtype)
            module.register_parameter(name, torch.nn.Parameter(data, requires_grad=p.requires_grad))
        for name, b in list(module.named_buffers(recurse=False)):
            kept = name not in module._non_persistent_buffers_set
            module.register_buffer(name, torch.empty(b.shape, dtype=b.dtype), persistent=kept)


class Packed4Bit(torch.nn.Linear):
    """A layer with the memory of a 4-bit one: half a byte per weight, dequantised for each product."""

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
