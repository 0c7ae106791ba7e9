"""A model in training without a trainer: it is changed as `train.sft` and TRL's trainer change a base model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import SmolVLMForConditionalGeneration
from trl.trainer.utils import add_fused_lm_head

from train.config import TrainConfig
from train.model import forward
from train.model.load import NOT_QUANTISED, disable_lora_input_cast, set_trainable


def four_bits(
    model: SmolVLMForConditionalGeneration, make: Callable[[torch.nn.Linear], torch.nn.Module]
) -> None:
    """Replace each layer that QLoRA holds in 4 bits by `make(layer)`."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and not name.startswith(tuple(NOT_QUANTISED)):
            model.set_submodule(name, make(layer))


def prepare_for_training(
    base: SmolVLMForConditionalGeneration,
    config: TrainConfig,
    compute: torch.dtype,
    scale: forward.Scale | None,
) -> Any:
    """The model in training mode, with the adapter, our forward and TRL's fused head.

    Args:
        scale: as `train.model.forward.install` takes it; None: leave the stock forward as it is.
    """
    trained = set_trainable(base, config.train.method, config.lora, config.optim).train()
    if config.train.checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    if scale is not None:
        if compute is not torch.float32:
            disable_lora_input_cast(trained)
        forward.install(base, scale, frames_at_once=config.train.vision_batch)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    return trained
