"""Fewer tokens a frame: a connector that joins more patches into each token.

The connector is a pixel shuffle, which lays s × s neighbouring patches side by side, and one linear layer. The mean of
n × n neighbouring tokens is exactly what a pixel shuffle by n·s gives whose layer has the old weight, repeated and
divided by n². So a model with fewer tokens is an ordinary checkpoint with a larger `scale_factor`; other programs
need nothing new. From the mean the layer then learns what is worth more.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from data.errors import UserError

MOST_WEIGHTS = 200_000_000
"""Of a connector: one token a frame would take 453 M (256M), 755 M (500M) or 1.7 B weights (2.2B)."""


def tokens_of(shape: SmolVLMConfig) -> int:
    """Tokens that a frame takes in the prompt."""
    return _side(shape) ** 2 // shape.scale_factor**2


def _side(shape: SmolVLMConfig) -> int:
    """Patches along a side of a frame."""
    vision: Any = shape.vision_config
    return int(vision.image_size // vision.patch_size)


def token_counts(shape: SmolVLMConfig) -> dict[int, int]:
    """Tokens a frame that the model can have → the `scale_factor` for it; its own number first."""
    vision: Any = shape.vision_config
    text: Any = shape.text_config
    own = shape.scale_factor
    grid = _side(shape) // own  # tokens along a side
    counts = {}
    for n in range(1, grid + 1):
        weights = vision.hidden_size * (n * own) ** 2 * text.hidden_size
        if grid % n == 0 and (n == 1 or weights <= MOST_WEIGHTS):
            counts[(grid // n) ** 2] = n * own
    return counts


def with_tokens(shape: SmolVLMConfig, tokens: int | None) -> SmolVLMConfig:
    """The shape with so many tokens a frame (None: its own).

    Raises:
        UserError: the model cannot have so many.
    """
    if tokens is None:
        return shape
    counts = token_counts(shape)
    if tokens not in counts:
        listed = ", ".join(map(str, counts))
        raise UserError(
            f"model.tokens_a_frame={tokens}: this model can have {listed} tokens a frame"
        )
    changed = copy.deepcopy(shape)
    changed.scale_factor = counts[tokens]
    return changed


def widen(model: SmolVLMForConditionalGeneration, tokens: int | None) -> None:
    """Change the model, in place, to so many tokens a frame (None: its own): at first each is the mean of those
    that it replaces.

    Raises:
        UserError: the model cannot have so many.
    """
    wanted = with_tokens(model.config, tokens).scale_factor
    own = model.config.scale_factor
    if wanted == own:
        return
    connector = model.model.connector
    old = connector.modality_projection.proj
    weight = widened(old.weight.detach(), own, wanted)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(weight, requires_grad=old.weight.requires_grad)
    connector.modality_projection.proj = layer
    connector.scale_factor = model.config.scale_factor = wanted
    model.model.image_seq_len = tokens_of(model.config)


def widened(weight: torch.Tensor, own: int, wanted: int) -> torch.Tensor:
    """The connector's weight (H, own² · D) for a pixel shuffle by `wanted`, a multiple of `own`: (H, wanted² · D).
    The patches of a token lie row by row."""
    n = wanted // own
    by_patch = weight.unflatten(1, (own, own, -1))  # (H, s, s, D)
    return by_patch.repeat(1, n, n, 1).flatten(1) / n**2
