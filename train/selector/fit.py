"""The training loop of a selector's part: AdamW, one cycle of the learning rate, resumable, `metrics.jsonl`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from data.errors import UserError
from data.storage import atomic

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
LOG_EVERY, CHECK_EVERY = 20, 50
MOST_NORM = 1.0


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast."""

    steps: int
    lr: float
    save_every: int
    keys: str
    """Of the run, as text: a checkpoint of other keys is not continued."""


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterator[Any]],
    loss_of: Callable[[Any], torch.Tensor],
    plan: FitPlan,
    folder: Path,
    validation: Callable[[], torch.Tensor] | None = None,
) -> float:
    """Train `network` in place; returns the mean loss of the last tenth, or the lowest one of `validation`, whose
    weights the network then has.

    Args:
        batches: from a step on, the batch of every step; the same after a resume as without one.
        loss_of: of a batch.
        validation: the loss on videos that are not learned from, every `CHECK_EVERY` steps.

    Raises:
        UserError: a checkpoint in the folder is of other keys, or the loss is not finite.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.lr, total_steps=plan.steps, pct_start=0.1
    )
    folder.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []
    best: dict[str, Any] = {"loss": float("inf")}
    start = 0
    if (folder / CHECKPOINT).is_file():
        state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
        if state["keys"] != plan.keys:
            raise UserError(
                f"out={folder}: holds the beginning of a run with other keys; give its keys, or "
                f"another out, or remove {CHECKPOINT}"
            )
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start, losses, best = state["step"], list(state["losses"]), state["best"]
    mode = "a" if start else "w"
    with (
        (folder / METRICS).open(mode, encoding="utf-8") as metrics,
        tqdm(total=plan.steps, initial=start, desc="train selector", unit="step") as bar,
    ):
        began = time.monotonic()
        for step, batch in enumerate(batches(start), start=start + 1):
            network.train()
            loss = loss_of(batch)
            if not torch.isfinite(loss):
                raise UserError(f"step {step}: the loss is not finite; lower lr={plan.lr:g}")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), MOST_NORM)
            optimizer.step()
            lr = schedule.get_last_lr()[0]
            schedule.step()
            losses.append(loss.item())
            bar.update()
            if step % LOG_EVERY == 0 or step == plan.steps:
                mean = sum(losses[-LOG_EVERY:]) / len(losses[-LOG_EVERY:])
                bar.set_postfix(loss=f"{mean:.4f}")
                seconds = round(time.monotonic() - began, 1)
                row = {"step": step, "loss": round(mean, 6), "lr": lr, "seconds": seconds}
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
            if validation is not None and (step % CHECK_EVERY == 0 or step == plan.steps):
                network.eval()
                with torch.inference_mode():
                    checked = float(validation())
                metrics.write(json.dumps({"step": step, "validation": round(checked, 6)}) + "\n")
                if checked < best["loss"]:
                    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
                    best = {"loss": checked, "step": step, "network": kept}
            if step % plan.save_every == 0 and step < plan.steps:
                state = {
                    "keys": plan.keys,
                    "step": step,
                    "losses": losses,
                    "best": best,
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                }
                with atomic(folder / CHECKPOINT) as unfinished:
                    torch.save(state, unfinished)
    if validation is not None:
        network.load_state_dict(best["network"])
        return float(best["loss"])
    last = losses[-max(1, plan.steps // 10) :]
    return sum(last) / len(last)
