"""The bytes of living tensors, whether they hold numbers or not, and what they belong to."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from transformers import SmolVLMForConditionalGeneration


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of living storages, each under the part that was at work when it was made.

    FLOPs as torch's `FlopCounterMode` counts them; that mode itself keeps tensors alive by its hooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part = "other"
        self.live: dict[int, tuple[str, int]] = {}
        self.now = self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.flop = 0

    def own(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor under a part, whatever it was counted under before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.live:
            self.live[key] = (part, self.live[key][1])
            return
        size = storage.nbytes()
        self.live[key] = (part, size)
        self.now += size
        weakref.finalize(storage, self._gone, key)
        if self.now > self.peak:
            self.peak, self.at_peak = self.now, self.by_part()

    def by_part(self) -> dict[str, int]:
        parts: dict[str, int] = {}
        for part, size in self.live.values():
            parts[part] = parts.get(part, 0) + size
        return parts

    def parts_at_peak(self) -> dict[str, int]:
        """The largest first."""
        return dict(sorted(self.at_peak.items(), key=lambda item: -item[1]))

    def start_again(self) -> None:
        """Look for a new peak, from what lives now on."""
        self.peak, self.at_peak = self.now, self.by_part()

    def _gone(self, key: int) -> None:
        self.now -= self.live.pop(key)[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.flop += count(*args, **kwargs, out_val=out)
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor) and one.untyped_storage()._cdata not in self.live:
                self.own(one, self.part)
        return out


def count_weights(
    trained: torch.nn.Module, bytes_: LiveBytes, *, without_tower: bool = False
) -> None:
    for name, tensor in [*trained.named_parameters(), *trained.named_buffers()]:
        if without_tower and ".vision_model." in name:
            continue
        bytes_.own(tensor, "adapter" if "lora_" in name else "weights")


@contextlib.contextmanager
def parts_at_work(model: SmolVLMForConditionalGeneration, bytes_: LiveBytes) -> Iterator[None]:
    """Name the part at work by the module that runs; what backward recomputes stays `backward`."""
    handles = []
    body = model.model

    def entering(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if bytes_.part != "backward":
                bytes_.part = part

        return hook

    for module, part in (
        (body.vision_model, "vision activations"), (body.connector, "connector activations"),
        (body.text_model, "language activations"),
    ):  # fmt: skip
        handles.append(module.register_forward_pre_hook(entering(part)))
        handles.append(module.register_forward_hook(entering("logits")))
    yield
    for handle in handles:
        handle.remove()
