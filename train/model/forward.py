"""The forward pass for training: uint8 frames or cached features in, hidden states of the answers out.

It differs from the stock forward in three ways:
- Frames go through the vision tower a few at a time, and outside autograd if the tower is frozen.
  Inside autograd, a frozen tower would be recomputed and back-propagated through, because gradient
  checkpointing makes its input require gradients. That doubles the FLOPs of a step.
- Features of the tower, or of the connector, may be given instead of frames.
- Only hidden states that predict a supervised token leave the language model, so that the head never
  computes on the others, on any device.
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
"""Parameter of the stock forward for features that have passed tower and connector."""
Scale = Callable[[torch.Tensor], torch.Tensor]
"""(F, 3, S, S) uint8 → float."""


def install(model: SmolVLMForConditionalGeneration, scale: Scale, *, frames_at_once: int) -> None:
    """Make `model(...)` accept further arguments, whatever wraps the model:

    frames    (F, 3, S, S) uint8, the frames of all samples in reading order; `scale` (`normalise` with
              the model's processor) prepares them for the tower; or
    features  (F, P, D) the tower's, or (F, N, H) the connector's output for these frames;
    answers   (A,) positions in the flattened batch whose hidden states are returned:
              last_hidden_state is then (1, A, H), not (B, T, H); or
    tokens, branch, places  of trees (`train.batches.trees`), in the place of `input_ids`: last_hidden_state
              is then (R, L, H), the hidden states at `places` (R, L).
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
        tokens: torch.Tensor | None = None,
        branch: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
        **named: Any,
    ) -> Any:
        if frames is not None:
            features = encode_frames(model, scale, frames, frames_at_once)
        if features is not None:
            if features.shape[1] != tokens_a_frame:
                features = connect(model, features)
            named[FEATURES] = as_mm_outputs(features)
        if answers is not None:
            # Padding is on the right and attention is causal: no real token attends to padding. Without
            # a mask, attention uses its fast causal kernel and makes no (B, T, T) array.
            named.pop("attention_mask", None)
        if branch is not None:
            named |= {"input_ids": tokens, "attention_mask": _tree_mask(branch, body)}
        out = stock(*arguments, **named)
        head: torch.nn.Module = model.lm_head
        if isinstance(head, FSDPModule):
            # The fused head reads lm_head's weights without calling lm_head. In FSDP, lm_head shares a
            # group with the last norm, and the group waits until both have run. Without this call its
            # gradients would stay on each device.
            head(out.last_hidden_state[:, :0])
        if answers is not None:
            out.last_hidden_state = out.last_hidden_state.flatten(0, 1)[answers].unsqueeze(0)
        if places is not None:
            out.last_hidden_state = out.last_hidden_state.flatten(0, 1)[places]
        return out

    body.forward = forward


def _tree_mask(branch: torch.Tensor, body: Any) -> torch.Tensor:
    """Which tokens (B, 1, T, T; query, key) each token of trees attends to: itself, and earlier ones of the prompt and of
    its own branch. Booleans, or for `eager` attention what is added. Padding sees something too, for attention to
    nothing would be NaN."""
    length = branch.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    own = branch[:, :, None] == branch[:, None, :]  # (B, T, T)
    mask = ((own | (branch == 0)[:, None, :]) & earlier)[:, None]
    if body.config.text_config._attn_implementation != "eager":
        return mask
    dtype = body.text_model.dtype
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
        ~mask, torch.finfo(dtype).min
    )


def check_forward(model: SmolVLMForConditionalGeneration) -> None:
    """Check that the stock forward has the parameter FEATURES. It accepts any keyword: features under a
    wrong name would be ignored without an error.

    Raises:
        UserError: it has no such parameter.
    """
    check_overrides(type(model.model), {"forward": (FEATURES,)}, "transformers")


def as_mm_outputs(features: torch.Tensor) -> dict[str, BaseModelOutputWithPooling]:
    """Features of the connector (…, H) in the form that the stock forward and `generate` take."""
    tokens = features.flatten(0, -2)  # (tokens, H)
    return {"image": BaseModelOutputWithPooling(pooler_output=tokens)}


def connect(model: SmolVLMForConditionalGeneration, features: torch.Tensor) -> torch.Tensor:
    """The tower's features (F, P, D) → the connector's (F, N, H). A connector that trains whole beside an adapter
    has weights of 32 bits, whatever the model's are."""
    connector = model.model.connector
    if not torch.is_autocast_enabled(features.device.type):  # it would cast a second time
        features = features.to(connector.modality_projection.proj.weight.dtype)
    return connector(features)


def encode_frames(
    model: SmolVLMForConditionalGeneration,
    scale: Scale,
    frames: torch.Tensor,
    frames_at_once: int,
) -> torch.Tensor:
    """Frames (F, 3, S, S) uint8 → features of the vision tower (F, P, D)."""
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
