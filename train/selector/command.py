"""Trains a selector (scripts/train_selector.py)."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from data.config import resolved
from data.errors import UserError
from data.locks import locked
from data.selection.learned import selector
from data.selection.learned.network import SelectorNet
from train.console import say
from train.selector.boundaries import boundary_batches, boundary_loss
from train.selector.config import SelectorConfig
from train.selector.fit import CHECKPOINT, FitPlan, fit

HOW = ("out", "overwrite", "save_every", "workers")
"""Keys that change nothing of the result."""
MADE_BY = {"made_by": f"scenescribe {version('scenescribe')}"}


def train_selector(config: SelectorConfig) -> None:
    """Train one part of a selector and write the folder `out`; a run that was killed goes on.

    Raises:
        UserError: `out` holds a finished selector or another run, or `init` cannot be read.
    """
    out = Path(config.out)
    if (out / selector.RECORD).exists() and not config.overwrite:
        raise UserError(
            f"out={config.out}: holds a finished selector; choose another out, or overwrite=true"
        )
    with locked(out, f"out={config.out}"):
        torch.manual_seed(config.seed)
        network, parts = SelectorNet(), {}
        if config.init is not None:
            first = selector.read(config.init, "init")
            network.load_state_dict(first.network.state_dict())
            parts = dict(first.record["parts"])
        keys = resolved(config)
        plan = FitPlan(
            config.steps,
            config.lr,
            config.save_every,
            json.dumps({k: v for k, v in keys.items() if k not in HOW}, sort_keys=True),
        )
        part = network.boundaries
        loss = fit(
            part,
            partial(boundary_batches, config),
            partial(boundary_loss, part),
            plan,
            out,
        )
        made = {k: v for k, v in keys.items() if k not in HOW} | {"loss": round(loss, 6)}
        if config.init is not None:
            made["init_sha256"] = first.sha256
        selector.write(out, network, {**parts, config.objective: made}, MADE_BY)
        (out / CHECKPOINT).unlink(missing_ok=True)
    count = sum(p.numel() for p in part.parameters())
    say(f"selector of {count:,} weights → {out} (mean loss of the last tenth {loss:.4f})")
    say(f"use it: frames.boundaries=learned frames.selector={out}")
