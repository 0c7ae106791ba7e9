"""The number of optimizer steps of a run, and the learning rate of each."""

from __future__ import annotations

import math

import torch
from transformers import get_scheduler

from data.errors import UserError
from train.console import say
from train.run.resume import Start
from train.sections import OptimKeys, TrainKeys

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def steps_per_epoch(train: TrainKeys, num_items: int, num_devices: int) -> int:
    """Optimizer steps in one pass over the data: `num_items` samples, or packs of them."""
    batches = math.ceil(num_items / num_devices / train.batch)
    return max(1, math.ceil(batches / train.accumulate))


def total_steps(train: TrainKeys, per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    return train.steps or math.ceil(train.epochs * per_epoch)


def rate_at(optim: OptimKeys, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0, in a run of `steps`."""
    weight = torch.nn.Parameter(torch.zeros(1))
    scheduler = get_scheduler(
        SCHEDULES[optim.schedule],
        torch.optim.SGD([weight], lr=optim.lr),
        num_warmup_steps=math.ceil(optim.warmup * steps),
        num_training_steps=steps,
    )
    return float(optim.lr * scheduler.lr_lambdas[0](step))


def planned_steps(train: TrainKeys, optim: OptimKeys, per_epoch: int, start: Start) -> int:
    """Optimizer steps of the whole run. If a resumed run gets longer or shorter than planned, prints the
    effect on the learning rate.

    Raises:
        UserError: the run is past that step already.
    """
    steps = total_steps(train, per_epoch)
    from_step, before = start.step, start.before
    if from_step > steps:
        raise UserError(
            f"train.steps={steps}: the run is at step {from_step} already; give more steps, or take checkpoint-{from_step} "
            "as it is"
        )
    if before is not None and before.steps != steps:
        # the rate of the next step is in the optimizer's state already
        was, now = (rate_at(optim, from_step + 1, n) for n in (before.steps, steps))
        say(
            f"note: {steps} steps where it began with {before.steps}: {optim.schedule} over the whole of them, so "
            f"step {from_step + 2} has learning rate {now:.2e} in place of {was:.2e}"
        )
    return steps
