"""Trains a part of a selector (scripts/train_selector.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from data.config import resolved
from data.errors import UserError
from data.locks import locked
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.selection.learned import selector
from data.selection.learned.network import PARTS, SelectorNet
from train.batches.split import split
from train.console import say
from train.evaluation.systems import kept_out
from train.run.saved import read_run
from train.sections import DataKeys
from train.selector.boundaries import boundary_batches, boundary_loss
from train.selector.config import Objective, SelectorConfig
from train.selector.describer import Describer
from train.selector.events import event_loss
from train.selector.fit import CHECKPOINT, FitPlan, fit
from train.selector.pool import PoolVideo, pool_of
from train.selector.subsets import LOSSES, judged
from train.selector.values import Reinforce, batches_of, rank_loss, reward_of

HOW = ("out", "overwrite", "save_every", "workers", "init", "data", "adapter")
"""Keys that change nothing of the result, or name places of this machine: hashes are recorded instead."""
PART: dict[Objective, str] = {
    "boundaries": "boundaries",
    "rank": "values",
    "reinforce": "values",
    "events": "events",
}
"""Objective → the part that it trains."""
KEPT_FEATURES = 512
"""Videos of which `reinforce` keeps features in memory."""


def train_selector(config: SelectorConfig) -> None:
    """Train one part of a selector and write the folder `out`; a run that was killed goes on.

    Raises:
        UserError: `out` holds a finished selector or another run, or `init`, the dataset or the describer
            cannot be read.
    """
    out = Path(config.out)
    if (out / selector.RECORD).exists() and not config.overwrite:
        raise UserError(
            f"out={config.out}: holds a finished selector; choose another out, or overwrite=true"
        )
    with locked(out, f"out={config.out}"):
        torch.manual_seed(config.seed)
        network, parts = SelectorNet(), {}
        made: dict[str, Any] = {k: v for k, v in resolved(config).items() if k not in HOW}
        if config.objective != "boundaries" or config.init is not None:
            first = selector.read(config.init or str(selector.SHIPPED), "init")
            parts = dict(first.record["parts"])
            for name in parts:
                own = first.network.get_submodule(name).state_dict()
                network.get_submodule(name).load_state_dict(own)
            made["init_sha256"] = first.sha256
        part = PART[config.objective]
        keys = json.dumps(made, sort_keys=True)
        batches, loss_of = _task(config, network, out)
        plan = FitPlan(config.num_steps, config.lr, config.save_every, keys)
        loss = fit(network.get_submodule(part), batches, loss_of, plan, out)
        parts[part] = {**made, "loss": round(loss, 6)}
        if part != "boundaries":  # of an earlier training; PARTS keeps the order
            parts = {name: parts[name] for name in PARTS if name in parts}
        lineage = {"made_by": f"scenescribe {version('scenescribe')}"}
        selector.write(out, network, parts, lineage)
        for name in (CHECKPOINT, LOSSES):
            (out / name).unlink(missing_ok=True)
    count = sum(p.numel() for p in network.get_submodule(part).parameters())
    say(f"{part}: {count:,} weights, mean loss of the last tenth {loss:.4f} → {out}")
    how = {"boundaries": "boundaries=learned", "values": "policy=learned"}.get(
        part, "policy=learned frames.method=proposals"
    )
    say(f"use it: frames.{how} frames.selector={out}")


def _task(
    config: SelectorConfig, network: SelectorNet, out: Path
) -> tuple[Callable[[int], Iterator[Any]], Callable[[Any], torch.Tensor]]:
    """The batches from a step on, and the loss of one."""
    if config.objective == "boundaries":
        return partial(boundary_batches, config), partial(boundary_loss, network.boundaries)
    pool = _pool(config, out)
    if config.objective == "events":
        told = [video for video in pool if video.row["events"]]
        if not told:
            raise UserError(f"data.path={config.data.path}: no video in it has events with times")
        return _steps(config, told), lambda drawn: event_loss(network.events, drawn.videos)
    describer = Describer.load(read_run(str(config.adapter)))
    if config.objective == "rank":
        known = judged(
            describer, pool, config.budgets, config.subsets, config.batch, config.seed, out
        )
        return _steps(config, known), lambda drawn: rank_loss(network.values, drawn.videos)
    reward = reward_of(describer, config.batch)
    seen = {video.id: video for video in pool}

    @lru_cache(maxsize=KEPT_FEATURES)
    def features(name: str) -> torch.Tensor:
        return describer.features(seen[name])

    task = Reinforce(
        network.values, reward, lambda video: features(video.id), config.budgets, config.seed
    )
    return _steps(config, pool), task.loss


def _steps(config: SelectorConfig, pool: list[Any]) -> Callable[[int], Iterator[Any]]:
    return partial(batches_of, pool, config.batch, config.seed, config.num_steps)


def _pool(config: SelectorConfig, out: Path) -> list[PoolVideo]:
    """The videos that are learned from: of the dataset's, those that are not held out for evaluation."""
    dataset = Prepared.open(str(config.data.path))
    rows = dataset.rows().select_columns(["id", "sample_id", "video_id", "events"])
    held = None
    if config.adapter is not None:
        held = kept_out(read_run(config.adapter), dataset, rows)
    if held is None:
        keys = DataKeys()
        held = frozenset(split(rows, keys.eval_share, keys.eval_max).held_ids)
    ids = [name for name in dict.fromkeys(rows["sample_id"]) if name not in held]
    if not ids:
        raise UserError(f"data.path={config.data.path}: all of its videos are held out")
    learned = FrameKeys(boundaries="learned", selector=config.init)
    return pool_of(dataset, ids[: config.videos], config.pool, learned, out / "pool")
