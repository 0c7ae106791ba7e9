"""How fast a run is and what it holds: logged beside every loss."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from data.config import GIB


class ThroughputMeter:
    """Counts what goes through the training steps of this process."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Count anew: what went before, as an evaluation, is no training."""
        self._videos = self._tokens = 0
        self._since = time.monotonic()

    def add(self, videos: int, tokens: int) -> None:
        self._videos += videos
        self._tokens += tokens

    def read(self, devices: int) -> dict[str, float]:
        """Since the last `start` or `read`, scaled by the number of processes (assumes equal load)."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        videos, tokens = self._videos * devices, self._tokens * devices
        self.start()
        return {
            "videos_per_s": round(videos / seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
            "memory_gib": round(held_gib(), 3),
        }


def held_gib() -> float:
    """The most that this process has held so far on its GPU; without one, what it holds in memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return float(psutil.Process().memory_info().rss) / GIB


def learning_rates(optimizer: torch.optim.Optimizer | None) -> dict[str, float]:
    """`lr_vision`, `lr_connector`, `lr_llm`, where groups have names and differ."""
    groups: list[dict[str, Any]] = optimizer.param_groups if optimizer is not None else []
    named = {f"lr_{g['part']}": float(g["lr"]) for g in groups if "part" in g}
    return named if len(named) > 1 else {}
