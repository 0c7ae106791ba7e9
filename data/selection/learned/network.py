"""The selector's network, in parts that are trained one at a time.

`boundaries` looks at every frame: does a shot begin here, is this within a transition?
"""

from __future__ import annotations

import torch
from torch import nn

from data.selection.learned.features import NUM_FEATURES

PICTURE = 432
"""Values of a small picture: luma and two chroma planes of 9 × 16."""
WIDTH = 64
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
SEES = sum(DILATIONS)
"""Frames on either side that a frame's scores depend on, in addition to what its features depend on."""


PARTS = {"boundaries": "boundaries"}
"""Part → the objective that trains it."""


class SelectorNet(nn.Module):
    """All parts; those that were not trained are not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.boundaries = BoundaryNet()


class BoundaryNet(nn.Module):
    """Features and small pictures of a video's frames → three logits a frame, by residual dilated convolutions.
    The logits: it is the first of a new shot; it is within a gradual transition; it is the middle of one."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(NUM_FEATURES, WIDTH)
        self.picture = nn.Linear(PICTURE, WIDTH)
        self.blocks = nn.ModuleList(_Dilated(dilation) for dilation in DILATIONS)
        self.norm = nn.LayerNorm(WIDTH)
        self.logits = nn.Linear(WIDTH, 3)
        nn.init.constant_(self.logits.bias, -3.0)  # most frames are nothing of these

    def forward(self, features: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """(B, N, F) features, (B, N, 432) pictures of 0 to 255 → (B, N, 3)."""
        x = self.features(features) + self.picture((pictures.float() - 128) / 64)  # (B, N, D)
        for block in self.blocks:
            x = block(x)
        return self.logits(self.norm(x))


class _Dilated(nn.Module):
    """A residual convolution over time; at first the identity."""

    def __init__(self, dilation: int):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, dilation=dilation, padding=dilation)
        self.out = nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, D) → (B, N, D)."""
        near = self.conv(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.out(nn.functional.gelu(near))
