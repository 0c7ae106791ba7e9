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
    """The cost of one step; of one that was only counted, FLOPs alone."""

    tflop: float
    seconds: float | None = None
    peak_bytes: int | None = None


class StepClock(TrainerCallback):
    """Seconds from the beginning of a step's forward to the end of its update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = _now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(_now() - self._started)


class CountedStep(TrainerCallback):
    """Counts the FLOPs of a step of the real loop."""

    def __init__(self) -> None:
        self.count = LiveBytes()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.count.__enter__()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.count.__exit__(None, None, None)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def cost_of(trainer: SFTTrainer, config: BenchStepConfig) -> Cost:
    """The median time of whole steps in the real loop, and the bytes and FLOPs of one more step. Without steps to be
    timed, the FLOPs of the first one."""
    if not config.steps:
        counted = CountedStep()
        trainer.add_callback(counted)
        trainer.train()
        return Cost(counted.count.flop / 1e12)
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
    return Cost(bytes_.flop / 1e12, seconds, bytes_.peak)
