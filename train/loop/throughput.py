"""Throughput and memory of a run, logged with every loss."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from data.config import GIB


class ThroughputMeter:
    """Counts the videos and tokens in the training steps of this process."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Reset counts and clock, so that the time of an evaluation, for instance, is left out."""
        self._videos = self._tokens = 0
        self._since = time.monotonic()

    def add(self, videos: int, tokens: int) -> None:
        self._videos += videos
        self._tokens += tokens

    def read(self, devices: int) -> dict[str, float]:
        """Throughput since the last `start` or `read`, times the number of processes (assumes equal load)."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        videos, tokens = self._videos * devices, self._tokens * devices
        self.start()
        return {
            "videos_per_s": round(videos / seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
            "memory_gib": round(held_gib(), 3),
        }


def held_gib() -> float:
    """Peak GPU memory of this process so far; without a GPU, its resident memory now."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return float(psutil.Process().memory_info().rss) / GIB


def learning_rates(optimizer: torch.optim.Optimizer | None) -> dict[str, float]:
    """`lr_vision`, `lr_connector`, `lr_llm`; empty unless two of them have named parameter groups."""
    groups: list[dict[str, Any]] = optimizer.param_groups if optimizer is not None else []
    named = {f"lr_{g['part']}": float(g["lr"]) for g in groups if "part" in g}
    return named if len(named) > 1 else {}
