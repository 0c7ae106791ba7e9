"""The model's forward as training wants it: uint8 frames or stored features in, the answers' states out.

Three things that the stock forward does not do, installed in one place:
- frames go through the vision tower a few at a time, and outside autograd where it is frozen: left in,
  a frozen tower is recomputed and back-propagated through, because gradient checkpointing makes its
  input require gradients. That doubles the FLOPs of a step;
- instead of frames, what the tower (or the connector) made of them may be given;
- only the states from which a token of an answer is predicted leave the language model, so that the
  head never sees the others, on any device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from transformers import SmolVLMForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from train.model.library_checks import check_overrides

FEATURES = "mm_encoder_outputs"
"""What the stock forward calls pictures that tower and connector have seen already."""
Scale = Callable[[torch.Tensor], torch.Tensor]
"""(F, 3, S, S) uint8 → float."""


def install(model: SmolVLMForConditionalGeneration, scale: Scale, *, frames_at_once: int) -> None:
    """Let `model(...)` also take, whatever wraps it:

    frames    (F, 3, S, S) uint8, the frames of all samples in reading order,
              as the tower wants them after `scale`, `normalise` of the model's processor; or
    features  (F, P, D) what the tower, or (F, N, H) what tower and connector made of them;
    answers   (A,) positions in the flattened batch whose states are wanted: last_hidden_state is
              then (1, A, H), not (B, T, H).
    """
    body = model.model
    stock = body.forward
    check_forward(model)
    tokens_a_frame = body.image_seq_len

    @functools.wraps(stock)
    def forward(
        *arguments: Any,
        frames: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
        answers: torch.Tensor | None = None,
        **named: Any,
    ) -> Any:
        if frames is not None:
            features = encode_frames(model, scale, frames, frames_at_once)
        if features is not None:
            if features.shape[1] != tokens_a_frame:
                features = body.connector(features.to(body.dtype))  # (F, P, D) → (F, N, H)
            named[FEATURES] = as_mm_outputs(features)
        if answers is not None:
            # Padding is on the right, and no token looks ahead: none that counts ever sees it. Without a
            # mask attention takes its fast causal kernel, and no (B, T, T) array is made.
            named.pop("attention_mask", None)
        out = stock(*arguments, **named)
        head: torch.nn.Module = model.lm_head
        if isinstance(head, FSDPModule):
            # The fused head reads its weights without being called. In FSDP it shares a group with the
            # last norm, which waits for both to run: unless it is, its gradients stay on each device.
            head(out.last_hidden_state[:, :0])
        if answers is not None:
            out.last_hidden_state = out.last_hidden_state.flatten(0, 1)[answers].unsqueeze(0)
        return out

    body.forward = forward


def check_forward(model: SmolVLMForConditionalGeneration) -> None:
    """The stock forward takes any name: features under another than its own would be swallowed, and the
    model see nothing.

    Raises:
        UserError: it has no such parameter.
    """
    check_overrides(type(model.model), {"forward": (FEATURES,)}, "transformers")


def as_mm_outputs(features: torch.Tensor) -> dict[str, BaseModelOutputWithPooling]:
    """What tower and connector made of frames, (F, N, H), as the stock forward and `generate` take it."""
    return {"image": BaseModelOutputWithPooling(pooler_output=features.flatten(0, 1))}  # (F·N, H)


def encode_frames(
    model: SmolVLMForConditionalGeneration,
    scale: Scale,
    frames: torch.Tensor,
    frames_at_once: int,
) -> torch.Tensor:
    """(F, 3, S, S) uint8 → what the vision tower makes of them, (F, P, D)."""
    tower = model.model.vision_model
    trains = any(p.requires_grad for p in tower.parameters())
    if not trains and tower.training:
        tower.eval()  # checkpointing would only cost time: there is no backward
    # autocast would run the norms of a frozen half-precision tower in 32 bits, for nothing
    mixed = torch.is_autocast_enabled(frames.device.type) and (trains or tower.dtype.itemsize == 4)
    with (
        torch.set_grad_enabled(trains and torch.is_grad_enabled()),
        torch.autocast(frames.device.type, enabled=mixed),
    ):
        seen = [
            tower(pixel_values=scale(some).to(tower.dtype)).last_hidden_state
            for some in frames.split(frames_at_once)
        ]
    return torch.cat(seen)
