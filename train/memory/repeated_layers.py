"""Run only the first two and the last of a language model's identical layers, and count the others alike.

The second layer is measured in forward, for what it leaves behind too, and the last one in backward. Those between them do
not run: the measured bytes and FLOPs are counted for each. With gradient checkpointing a layer leaves autocast's casts
of its weights, which live as long as autocast; without, activations too, which live until its backward pass. A step of a
model with 24 layers is planned in a fifth of the time, with the same result to the byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from train.memory.live_bytes import LiveBytes


def pretend_between(
    layers: torch.nn.ModuleList, bytes_: LiveBytes, *, checkpointing: bool
) -> list[torch.Tensor]:
    """Replace the layers between the second and the last by stand-ins. Returns a list of what autocast alone keeps, to be
    emptied where autocast ends."""
    kept: list[torch.Tensor] = []
    if len(layers) < 5:
        return kept
    took = _Cost(bytes_, kept if checkpointing else None)
    for i, layer in enumerate(layers):
        if 1 < i < len(layers) - 1:
            layers[i] = _StandIn(layer, took)
        elif i > 0:  # the first may see what no other does: embeddings, which may not train
            layers[i] = _MeasuredLayer(layer, took, forward=i == 1)
    return kept


class _Cost:
    """Bytes and FLOPs measured in the layers that run. `kept` takes what they leave; None: autograd does."""

    def __init__(self, bytes_: LiveBytes, kept: list[torch.Tensor] | None):
        self.bytes, self.kept = bytes_, kept
        self.left = self.flop = self.room_back = self.flop_back = 0
        self.room = self.input = 0
        self.keeps_input: bool | None = None
        """Whether autograd keeps the measured layer's input; the next layer looks."""

    def enter_backward(self) -> None:
        self._apart = self.bytes.apart()
        self._took = self._apart.__enter__()

    def leave_backward(self) -> None:
        self._apart.__exit__(None, None, None)
        self.room_back, self.flop_back = self._took[0]


class _MeasuredLayer(torch.nn.Module):
    """A layer that runs and is measured, in forward or in backward."""

    def __init__(self, layer: torch.nn.Module, took: _Cost, *, forward: bool):
        super().__init__()
        self.layer, self._took, self._forward = layer, took, forward

    def forward(self, x: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return self.layer(x, *more, **named)
        if not self._forward:
            out = self.layer(_BackwardHook.apply(x, self._took.leave_backward), *more, **named)
            return _BackwardHook.apply(out, self._took.enter_backward)
        bytes_, before = self._took.bytes, self._took.bytes.now
        self._took.input, self._took.keeps_input = x.untyped_storage()._cdata, None
        with bytes_.apart() as found:
            y: torch.Tensor = self.layer(x, *more, **named)
        self._took.room, self._took.flop = found[0]
        self._took.left = bytes_.now - before - y.untyped_storage().nbytes()
        return y


class _StandIn(torch.nn.Module):
    """A stand-in for a layer: it only counts bytes and FLOPs."""

    def __init__(self, layer: torch.nn.Module, took: _Cost):
        super().__init__()
        self.layer, self._took = layer, took

    def forward(self, x: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return self.layer(x, *more, **named)
        took = self._took
        if took.keeps_input is None:
            took.keeps_input = took.input in took.bytes.live
        took.bytes.passed(took.room, took.flop)
        left = torch.empty(max(0, took.left), dtype=torch.uint8)
        if took.kept is not None:
            took.kept.append(left)
            left = left.new_empty(0)
        trains = [p for p in self.layer.parameters() if p.requires_grad]
        return _StandInFunction.apply(x, left, took, trains)


class _StandInFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, left: torch.Tensor, took: _Cost, trains: list[torch.Tensor]
    ) -> torch.Tensor:
        ctx.save_for_backward(left, *([x] if took.keeps_input else ()))
        ctx.took, ctx.trains = took, trains
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        took = ctx.took
        took.bytes.passed(took.room_back, took.flop_back)
        for p in ctx.trains:
            if p.grad is None:
                p.grad = torch.empty_like(p)
                took.bytes.track(p.grad, "gradients")
        return torch.empty_like(gradients[0]), None, None, None


class _BackwardHook(torch.autograd.Function):
    """The identity; calls `passing` when the backward pass reaches it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, passing: Callable[[], None]) -> torch.Tensor:
        ctx.passing = passing
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        ctx.passing()
        return gradients[0], None
