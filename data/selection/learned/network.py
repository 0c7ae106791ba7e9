"""The selector's network, in parts that are trained one at a time.

`boundaries` looks at every frame: does a shot begin here, is this within a transition? `values` and `events` look
at ticks, each with the clearest frame of a quarter of a second (`data.selection.learned.ticks`): what does it add
to a description, of which event is it?
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from data.errors import UserError, one_line
from data.selection.learned.boundaries import DILATIONS
from data.selection.learned.features import NUM_FEATURES, NUM_TOLD, PICTURE
from data.selection.learned.selector import Selector, part_of, read

WIDTH = 64
HEADS, LAYERS, DROPOUT = 4, 2, 0.1
PERIODS_S = (0.5, 512.0)
"""Shortest and longest period of the waves that tell a tick's time."""


class SelectorNet(nn.Module):
    """All parts; those that were not trained are not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.boundaries = BoundaryNet()
        self.values = ValueNet()
        self.events = TickNet(3)


@lru_cache(maxsize=4)
def network_named(name: str) -> SelectorNet:
    """`network_of` the selector of that folder or Hub name, built once per process."""
    return network_of(read(name))


def network_of(found: Selector) -> SelectorNet:
    """The network of a selector; parts that were not trained are as they begin.

    Raises:
        UserError: its weights do not fit the network.
    """
    network = SelectorNet()
    for part in found.parts:
        own = {name: torch.from_numpy(t) for name, t in part_of(found.tensors, part).items()}
        try:
            network.get_submodule(part).load_state_dict(own)
        except RuntimeError as error:
            raise UserError(
                f"frames.selector={found.name}: {part} does not fit ({one_line(error)[:120]})"
            ) from None
    return network.eval()


def tensors_of(network: SelectorNet) -> dict[str, np.ndarray]:
    """The weights by their names."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


class BoundaryNet(nn.Module):
    """Features and small pictures of a video's frames → three logits a frame, by residual dilated convolutions.
    The logits: it is the first of a new shot; it is within a gradual transition; it is the middle of one. This is
    for training; `data.selection.learned.boundaries` computes the same."""

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


class TickNet(nn.Module):
    """The ticks of a video → some numbers each, by a transformer over all of them. `events`: a logit, whether an
    event is told of it, and the logarithms of the seconds since that began and until it ends."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.told = nn.Linear(NUM_TOLD, WIDTH)
        self.picture = nn.Linear(PICTURE, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH,
            HEADS,
            2 * WIDTH,
            dropout=DROPOUT,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.numbers = nn.Linear(WIDTH, numbers)
        nn.init.zeros_(self.numbers.weight)
        nn.init.zeros_(self.numbers.bias)

    def forward(
        self,
        told: torch.Tensor,
        pictures: torch.Tensor,
        times_s: torch.Tensor,
        padding: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, `NUM_TOLD`), (B, T, 432) of 0 to 255, (B, T), (B, T) True where there is no tick → (B, T, n)."""
        x = self.told(told) + self.picture((pictures.float() - 128) / 64) + _waves(times_s)
        return self.numbers(self.norm(self.layers(x, src_key_padding_mask=padding)))


class ValueNet(TickNet):
    """Three numbers a tick: the logit of its frame's value; how fast what is seen there changes; and the logit of
    whether a description tells of it, which is for training alone: a timeline says it of every tick, where a
    describer's loss says one number of a whole subset.

    `margin` is how much more worth, per frame of the budget, these values must see in their own choice than in that
    of `scene`; else `scene` chooses (`train.selector.margin`)."""

    margin: torch.Tensor

    def __init__(self) -> None:
        super().__init__(3)
        self.register_buffer("margin", torch.zeros(()))


def _waves(times_s: torch.Tensor) -> torch.Tensor:
    """(B, T) seconds → (B, T, D) sines and cosines."""
    short, long = PERIODS_S
    periods = short * (long / short) ** torch.linspace(0, 1, WIDTH // 2)
    turns = 2 * torch.pi * times_s.float()[..., None] / periods
    return torch.cat([turns.sin(), turns.cos()], dim=-1)


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
        return x + self.out(near.relu())
