"""Muon: the momentum of a layer's weight matrix is made orthogonal before it is applied.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with the step of Liu et al. 2025
(https://arxiv.org/abs/2502.16982), which is as large as AdamW's, so that both take the same learning rate.
Matrices of the layers are trained so; embeddings, the head, the connector and vectors by AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

MOMENTUM = 0.95
STEPS = 5
"""Of Newton and Schulz's iteration."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of its polynomial: singular values end near 1 in few steps (Jordan et al.)."""
ADAM_RMS = 0.2
"""Root mean square of AdamW's usual updates (Liu et al.)."""


class Muon(torch.optim.AdamW):
    """AdamW, except for parameter groups with `muon=True`: matrices (R, C)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        for group in self.param_groups:
            if group["muon"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._update(weight, weight.grad, group["lr"], group["weight_decay"])
        with self._groups_of_adamw():
            return super().step(closure)

    def _update(
        self, weight: torch.Tensor, gradient: torch.Tensor, lr: float, weight_decay: float
    ) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW reads it when a checkpoint is loaded
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        direction = orthogonal(gradient.lerp(momentum, MOMENTUM))  # Nesterov's look ahead
        weight.mul_(1 - lr * weight_decay)
        weight.add_(direction, alpha=-lr * ADAM_RMS * max(weight.shape) ** 0.5)

    @contextmanager
    def _groups_of_adamw(self) -> Iterator[None]:
        everything = self.param_groups
        self.param_groups = [group for group in everything if not group["muon"]]
        try:
            yield
        finally:
            self.param_groups = everything


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearly orthogonal matrix nearest to `matrix` (R, C): singular values of about .7 to 1.2."""
    a, b, c = COEFFICIENTS
    wide = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(STEPS):
        squared = x @ x.mT
        x = a * x + (b * squared + c * squared @ squared) @ x
    return x.mT if wide is not matrix else x


def trains_by_muon(name: str, parameter: torch.nn.Parameter) -> bool:
    """Whether a parameter is a matrix of a layer."""
    return ".layers." in name and parameter.ndim == 2
