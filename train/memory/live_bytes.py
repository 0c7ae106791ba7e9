"""Count the bytes of live tensors, real or fake, by the part of the model they belong to."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from transformers import SmolVLMForConditionalGeneration

aten = torch.ops.aten
FLOPS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}
"""Torch's formulas. It has none for attention on the CPU, where steps are planned, so that a GPU's stands for it: as torch
counts, all pairs of tokens, also those that a causal kernel leaves out."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of live storages, each under the part that was running when it was allocated.

    FLOPs are counted as in torch's `FlopCounterMode`. That mode itself keeps tensors alive by its hooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part = "other"
        self.live: dict[int, tuple[str, int]] = {}
        self.parts: dict[str, int] = {}
        self.now = self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.flop = 0

    def track(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor under a part, whatever it was counted under before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.live:
            before, size = self.live[key]
            self.live[key] = (part, size)
            self.parts[before] -= size
            self.parts[part] = self.parts.get(part, 0) + size
            return
        size = storage.nbytes()
        self.live[key] = (part, size)
        self.now += size
        self.parts[part] = self.parts.get(part, 0) + size
        weakref.finalize(storage, self._gone, key)
        if self.now > self.peak:
            self.peak, self.at_peak = self.now, dict(self.parts)

    def parts_at_peak(self) -> dict[str, int]:
        """Bytes by part at the peak, the largest first."""
        there = [item for item in self.at_peak.items() if item[1]]
        return dict(sorted(there, key=lambda item: -item[1]))

    def reset_peak(self) -> None:
        """Start a new peak at the bytes that are live now."""
        self.peak, self.at_peak = self.now, dict(self.parts)

    def passed(self, room: int, flop: int) -> None:
        """Count work that is not run: `room` bytes at its peak, freed afterwards, and `flop` FLOPs."""
        self.flop += flop
        if self.now + room > self.peak:
            self.peak = self.now + room
            self.at_peak = {**self.parts, self.part: self.parts.get(self.part, 0) + room}

    @contextlib.contextmanager
    def apart(self) -> Iterator[list[tuple[int, int]]]:
        """Measure the work inside by itself. On exit the list holds its peak, in bytes above those at
        entry, and its FLOPs."""
        took: list[tuple[int, int]] = []
        before, peak, at_peak, flop = self.now, self.peak, self.at_peak, self.flop
        self.reset_peak()
        yield took
        took.append((self.peak - before, self.flop - flop))
        if peak >= self.peak:
            self.peak, self.at_peak = peak, at_peak

    def _gone(self, key: int) -> None:
        part, size = self.live.pop(key)
        self.now -= size
        self.parts[part] -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (count := FLOPS.get(func._overloadpacket)) is not None:
            self.flop += count(*args, **kwargs, out_val=out)
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor) and one.untyped_storage()._cdata not in self.live:
                self.track(one, self.part)
        return out


def run_each_kind_once(layers: Iterable[torch.nn.Module], bytes_: LiveBytes) -> None:
    """Run layers of one kind only once per input shape, if no backward follows. Every further call is
    counted with the same peak, FLOPs and output, without running."""
    known: dict[tuple[Any, ...], tuple[int, int]] = {}

    def once(stock: Callable[..., Any]) -> Callable[..., Any]:
        def forward(x: torch.Tensor, *more: Any, **named: Any) -> Any:
            if torch.is_grad_enabled():
                return stock(x, *more, **named)
            key = (tuple(x.shape), x.dtype)
            if key in known:
                room, flop = known[key]
                bytes_.passed(room, flop)
                return torch.empty_like(x)
            with bytes_.apart() as took:
                out = stock(x, *more, **named)
            known[key] = took[0]
            return out

        return forward

    for layer in layers:
        layer.forward = once(layer.forward)


def count_weights(
    trained: torch.nn.Module, bytes_: LiveBytes, *, without_tower: bool = False
) -> None:
    """Count all parameters and buffers, as `weights` or `adapter`."""
    for name, tensor in [*trained.named_parameters(), *trained.named_buffers()]:
        if without_tower and ".vision_model." in name:
            continue
        bytes_.track(tensor, "adapter" if "lora_" in name else "weights")


@contextlib.contextmanager
def attribute_to_modules(
    model: SmolVLMForConditionalGeneration, bytes_: LiveBytes
) -> Iterator[None]:
    """Set `bytes_.part` to the module that runs; recomputation in backward stays `backward`."""
    handles = []
    body = model.model

    def entering(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if bytes_.part != "backward":
                bytes_.part = part

        return hook

    for module, part in (
        (body.vision_model, "vision activations"),
        (body.connector, "connector activations"),
        (body.text_model, "language activations"),
    ):
        handles.append(module.register_forward_pre_hook(entering(part)))
        handles.append(module.register_forward_hook(entering("logits")))
    yield
    for handle in handles:
        handle.remove()
