"""Real training steps at the published shapes, with random weights: what the benches measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from data.config import load
from train.batches.collate import collate
from train.batches.frames import normalise, rescale
from train.config import TrainConfig
from train.memory.estimate import BatchShape
from train.memory.shapes import shape_of
from train.memory.training_model import prepare_for_training
from train.model import forward
from train.model.connector import tokens_of
from train.model.load import Precision, load_model, set_trainable
from train.sections import Method, ModelKeys

RANK = 8


@dataclass(frozen=True)
class Ready:
    """A model and its optimizer, as the trainer has them before a step."""

    base: SmolVLMForConditionalGeneration
    trained: Any
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    shape: SmolVLMConfig


def ready(
    name: str,
    folder: Path,
    method: Method,
    precision: Precision,
    tokens: int | None = None,
    more: Sequence[str] = (),
) -> Ready:
    """Load a model and prepare it by the trainer's own functions, with Adam's states allocated.

    Args:
        tokens: of a frame (None: the model's own); with fewer an adapter's connector trains too.
        more: further keys.
    """
    argv = [f"model.name={name}", f"train.method={method}", "lora.dropout=0", "train.accumulate=1"]
    argv += more
    if tokens is not None:
        argv += [
            f"model.tokens_a_frame={tokens}",
            f"lora.connector={str(method != 'full').lower()}",
        ]
    config = load(TrainConfig, argv)
    base = load_model(config.model.model_copy(update={"name": str(folder)}), method, precision)
    vision: Any = base.config.vision_config
    side = vision.image_size
    scale = partial(rescale, video=SmolVLMVideoProcessor(max_image_size={"longest_edge": side}))
    trained = prepare_for_training(base, config, precision.compute, scale)
    weights = [p for p in trained.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.0, fused=True)
    for p in weights:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Ready(base, trained, optimizer, config, shape_of(config.model))


def batch_of(shape: SmolVLMConfig, load: BatchShape, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch of random frames and tokens, with an image token for each feature."""
    draw = torch.Generator().manual_seed(seed)
    vision: Any = shape.vision_config
    side = vision.image_size
    each = tokens_of(shape)
    ids = torch.randint(3, 100, (load.batch, load.tokens), generator=draw)
    ids[ids == shape.image_token_id] = shape.image_token_id + 1
    ids[:, : load.frames * each] = shape.image_token_id
    start = torch.arange(load.batch)[:, None] * load.tokens + load.tokens - 1 - load.answer_tokens
    answers = (start + torch.arange(load.answer_tokens)).flatten()
    frames = torch.randint(0, 256, (load.batch * load.frames, 3, side, side), generator=draw)
    return {
        "input_ids": ids,
        "answers": answers,
        "shift_labels": ids.flatten()[answers + 1].unsqueeze(0),
        "frames": frames.to(torch.uint8),
    }


def gradient_error(
    keys: ModelKeys, processor: SmolVLMProcessor, precision: Precision, sample: dict[str, Any]
) -> float:
    """Relative difference of the adapter's gradients: our forward and loss against the stock ones."""
    found = []
    for own in (False, True):
        torch.manual_seed(0)
        base = load_model(keys, "lora", precision)
        settings = load(TrainConfig, ["lora.dropout=0", f"lora.r={RANK}"])
        trained = set_trainable(base, "lora", settings.lora, settings.optim).train()
        for name, p in trained.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.01)  # at zero only half of the adapter has gradients
        trained.to(torch.device(precision.device))
        batch = collate([sample], pad_id=2)
        batch = {k: v.to(precision.device) for k, v in batch.items() if k != "sample_ids"}
        targets, frames = batch.pop("shift_labels")[0], batch.pop("frames")
        if own:
            forward.install(base, partial(normalise, processor=processor), frames_at_once=3)
            batch.pop("labels")
            logits = trained(**batch, frames=frames, use_cache=False).logits[0]
            loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        else:
            batch.pop("answers")
            loss = trained(**batch, pixel_values=normalise(frames, processor)[None]).loss
        loss.backward()
        found.append(
            torch.cat(
                [p.grad.flatten().float() for p in trained.parameters() if p.grad is not None]
            )
        )
    stock, ours = found
    return float((stock - ours).norm() / stock.norm())
