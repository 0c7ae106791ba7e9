"""The cost of a trainer's steps: seconds, peak memory, FLOPs."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    TrainerCallback,
)
from trl import SFTTrainer

from train.bench.config import BenchStepConfig
from train.memory.live_bytes import LiveBytes, count_weights


@dataclass(frozen=True)
class Cost:
    """The cost of one step."""

    seconds: float
    peak_bytes: int
    tflop: float


class StepClock(TrainerCallback):
    """Seconds from the beginning of a step's forward to the end of its update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = _now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(_now() - self._started)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def cost_of(trainer: SFTTrainer, config: BenchStepConfig) -> Cost:
    """The median time of whole steps in the real loop, and the bytes and FLOPs of one more step."""
    clock = StepClock()
    trainer.add_callback(clock)
    trainer.train()
    seconds = float(np.median(clock.seconds[1:]))
    model = trainer.model_wrapped
    bytes_ = LiveBytes()
    count_weights(model, bytes_)
    assert trainer.optimizer is not None
    for state in trainer.optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                bytes_.track(value, "optimizer")
    batch = next(iter(trainer.get_train_dataloader()))
    with bytes_:
        trainer.training_step(model, batch)
    del trainer, model
    gc.collect()
    return Cost(seconds, bytes_.peak, bytes_.flop / 1e12)
