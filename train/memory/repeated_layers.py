"""The layers of a language model are alike: two of them work, the others take the room that these took.

With gradient checkpointing a layer leaves its input behind, and what autocast keeps of its weights; in
the backward pass it works once more. So the first layer is watched on its way forward, the last one on
its way back, and those between them only count. A step of a model with 24 layers is planned in a fifth of
the time, to the same byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from train.memory.live_bytes import LiveBytes


def pretend_between(layers: torch.nn.ModuleList, bytes_: LiveBytes) -> list[torch.Tensor]:
    """Only for a step with checkpointing. What autocast keeps goes into the returned list, to be emptied
    where autocast ends."""
    kept: list[torch.Tensor] = []
    if len(layers) < 4:
        return kept
    took = _Took(bytes_, kept)
    for i, layer in enumerate(layers):
        if 0 < i < len(layers) - 1:
            layers[i] = _Twin(layer, took)
        else:
            layers[i] = _Watched(layer, took, forward=i == 0)
    return kept


class _Took:
    """What the watched layers took."""

    def __init__(self, bytes_: LiveBytes, kept: list[torch.Tensor]):
        self.bytes, self.kept = bytes_, kept
        self.left = self.flop = self.room_back = self.flop_back = 0
        self.room = 0

    def going_back(self) -> None:
        self._apart = self.bytes.apart()
        self._took = self._apart.__enter__()

    def gone_back(self) -> None:
        self._apart.__exit__(None, None, None)
        self.room_back, self.flop_back = self._took[0]


class _Watched(torch.nn.Module):
    """A layer that works."""

    def __init__(self, layer: torch.nn.Module, took: _Took, *, forward: bool):
        super().__init__()
        self.layer, self._took, self._forward = layer, took, forward

    def forward(self, x: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return self.layer(x, *more, **named)
        if not self._forward:
            out = self.layer(_Mark.apply(x, self._took.gone_back), *more, **named)
            return _Mark.apply(out, self._took.going_back)
        bytes_, before = self._took.bytes, self._took.bytes.now
        with bytes_.apart() as found:
            y: torch.Tensor = self.layer(x, *more, **named)
        self._took.room, self._took.flop = found[0]
        self._took.left = bytes_.now - before - y.untyped_storage().nbytes()
        return y


class _Twin(torch.nn.Module):
    """A layer that only takes room."""

    def __init__(self, layer: torch.nn.Module, took: _Took):
        super().__init__()
        self.layer, self._took = layer, took

    def forward(self, x: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return self.layer(x, *more, **named)
        took = self._took
        took.bytes.passed(took.room, took.flop)
        if took.left > 0:
            took.kept.append(torch.empty(took.left, dtype=torch.uint8))
        trains = [p for p in self.layer.parameters() if p.requires_grad]
        return _Pretended.apply(x, took, trains)


class _Pretended(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, took: _Took, trains: list[torch.Tensor]) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.took, ctx.trains = took, trains
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        took = ctx.took
        took.bytes.passed(took.room_back, took.flop_back)
        (x,) = ctx.saved_tensors
        for p in ctx.trains:
            if p.grad is None:
                p.grad = torch.empty_like(p)
                took.bytes.track(p.grad, "gradients")
        return torch.empty_like(x), None, None


class _Mark(torch.autograd.Function):
    """Says when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, passing: Callable[[], None]) -> torch.Tensor:
        ctx.passing = passing
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        ctx.passing()
        return gradients[0], None
