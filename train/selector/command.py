"""Trains a part of a selector (scripts/train_selector.py)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.config import resolved
from data.errors import UserError
from data.locks import locked
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.selection.learned import selector
from data.selection.learned.network import SelectorNet, network_of, tensors_of
from train.batches.split import split
from train.console import say
from train.evaluation.systems import kept_out
from train.inference.answer_loss import Describer
from train.run.saved import read_run
from train.sections import DataKeys
from train.selector.boundaries import boundary_batches, boundary_loss
from train.selector.config import Objective, SelectorConfig
from train.selector.events import event_loss
from train.selector.fit import CHECKPOINT, FitPlan, fit
from train.selector.margin import Compared, compare, margin_of
from train.selector.pool import PoolVideo, pool_of
from train.selector.subsets import LOSSES, judged
from train.selector.values import Reinforce, batches_of, rank_loss, reward_of
from train.selector.varied import varied, varied_judged

RECORDED: dict[Objective, tuple[str, ...]] = {
    "boundaries": ("length",),
    "rank": ("videos", "pool", "budgets", "subsets"),
    "reinforce": ("videos", "pool", "budgets"),
    "events": ("videos",),
}
"""Keys of an objective that decide the result, in addition to those of all. Places on this machine are not
recorded."""
PART: dict[Objective, str] = {
    "boundaries": "boundaries",
    "rank": "values",
    "reinforce": "values",
    "events": "events",
}
"""Objective → the part that it trains."""
POOL = "pool"
TENTH = 10
"""Every tenth sample is for validation, if there are that many."""
KEPT_FEATURES = 512
"""Videos of which `reinforce` keeps features in memory."""


def train_selector(config: SelectorConfig, pool: Path | None = None) -> None:
    """Train one part of a selector and write the folder `out`; a run that was killed goes on.

    Args:
        pool: where the videos' measurements are kept (None: in `out`).

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
        network, parts = SelectorNet(), dict[str, Any]()
        given = {**resolved(config), "steps": config.num_steps}
        wanted = ("objective", "steps", "batch", "lr", "seed", *RECORDED[config.objective])
        made: dict[str, Any] = {key: given[key] for key in wanted}
        if config.objective != "boundaries" or config.init is not None:
            first = selector.read(config.init or str(selector.SHIPPED), "init")
            parts = dict(first.record["parts"])
            begun = network_of(first)
            for name in parts:
                own = begun.get_submodule(name).state_dict()
                network.get_submodule(name).load_state_dict(own)
            made["init_sha256"] = first.sha256
        part = PART[config.objective]
        keys = json.dumps(made, sort_keys=True)
        task = _task(config, network, out, pool or out / POOL)
        plan = FitPlan(config.num_steps, config.lr, config.save_every, keys)
        trained = network.get_submodule(part)
        loss = fit(trained, task.batches, task.loss_of, plan, out, task.validation)
        parts[part] = {**made, "loss": round(loss, 6)}
        if part == "values":
            network.values.margin.zero_()  # that of `init` was for other values
        if task.compare is not None:
            parts[part] |= _set_margin(network, task.compare)
        if part != "boundaries":  # of an earlier training; PARTS keeps the order
            parts = {name: parts[name] for name in selector.PARTS if name in parts}
        lineage = {"made_by": f"scenescribe {version('scenescribe')}"}
        selector.write(out, tensors_of(network), parts, lineage)
        for name in (CHECKPOINT, LOSSES):
            (out / name).unlink(missing_ok=True)
    count = sum(p.numel() for p in network.get_submodule(part).parameters())
    told = "mean loss of the last tenth" if task.validation is None else "validation loss"
    say(f"{part}: {count:,} weights, {told} {loss:.4f} → {out}")
    how = {"boundaries": "boundaries=learned", "values": "policy=learned"}.get(
        part, "policy=learned frames.method=proposals"
    )
    say(f"use it: frames.{how} frames.selector={out}")


@dataclass(frozen=True)
class Task:
    """What `fit` needs of an objective."""

    batches: Callable[[int], Iterator[Any]]
    loss_of: Callable[[Any], torch.Tensor]
    validation: Callable[[], torch.Tensor] | None = None
    compare: Callable[[Path], Compared | None] | None = None
    """Of values in a folder: what they choose on the videos for validation, beside `scene`."""


def _task(config: SelectorConfig, network: SelectorNet, out: Path, kept: Path) -> Task:
    if config.objective == "boundaries":
        return Task(partial(boundary_batches, config), partial(boundary_loss, network.boundaries))
    pool = learned_from(config, kept)
    ids = list(dict.fromkeys(video.row["sample_id"] for video in pool))
    for_validation = frozenset(ids[::TENTH] if len(ids) > TENTH else ())
    if config.objective == "events":
        told = [video for video in pool if video.row["events"]]
        if not told:
            raise UserError(f"data.path={config.data.path}: no video in it has events with times")
        return _with_validation(
            config, told, for_validation, varied, partial(event_loss, network.events)
        )
    describer = Describer.load(read_run(str(config.adapter)))

    def both(selector: Path) -> Compared | None:
        dataset = Prepared.open(str(config.data.path))
        return compare(describer, dataset, for_validation, selector, config.budgets, config.batch)

    compared = both if for_validation else None
    if config.objective == "rank":
        known = judged(
            describer, pool, config.budgets, config.subsets, config.batch, config.seed, out
        )
        loss_of = partial(rank_loss, network.values)
        task = _with_validation(config, known, for_validation, varied_judged, loss_of)
        return replace(task, compare=compared)
    seen = {video.id: video for video in pool}

    @lru_cache(maxsize=KEPT_FEATURES)
    def features(name: str) -> torch.Tensor:
        return describer.features(seen[name].jpegs)

    reinforce = Reinforce(
        network.values,
        reward_of(describer, config.batch),
        lambda video: features(video.id),
        config.budgets,
        config.seed,
    )
    learned = [video for video in pool if video.row["sample_id"] not in for_validation]
    return Task(_steps(config, learned, varied), reinforce.loss, compare=compared)


def _with_validation(
    config: SelectorConfig,
    videos: Sequence[Any],
    for_validation: Collection[str],
    vary: Callable[[Any, np.random.Generator], Any],
    loss_of: Callable[[Sequence[Any]], torch.Tensor],
) -> Task:
    kept = [video for video in videos if video.row["sample_id"] in for_validation]
    learned = [video for video in videos if video.row["sample_id"] not in for_validation]

    def validation() -> torch.Tensor:
        parts = [kept[i : i + config.batch] for i in range(0, len(kept), config.batch)]
        return torch.stack([loss_of(part) * len(part) for part in parts]).sum() / len(kept)

    steps = _steps(config, learned, vary)
    return Task(steps, lambda drawn: loss_of(drawn.videos), validation if kept else None)


def _set_margin(
    network: SelectorNet, compare: Callable[[Path], Compared | None]
) -> dict[str, float]:
    """Set the margin of the values by the describer's losses; returns what is recorded of that."""
    with tempfile.TemporaryDirectory(prefix="scenescribe-selector-") as folder:
        selector.write(Path(folder), tensors_of(network), {name: {} for name in selector.PARTS}, {})
        compared = compare(Path(folder))
    if compared is None:
        return {}
    margin = margin_of(compared)
    network.values.margin.fill_(margin)
    loss = float(compared.losses(margin).mean())
    taken = float((compared.gains >= margin).mean())
    say(
        f"on {len(compared.gains)} windows that were not learned from, the answer's loss is {compared.rule.mean():.4f} with "
        f"the frames of scene, {compared.learned.mean():.4f} with those of the highest worth, and {loss:.4f} if these "
        f"are taken where they are worth {margin:.3f} more a frame ({taken:.0%} of choices)"
    )
    if taken == 0:
        say("the values do not help this describer: policy=learned chooses as policy=scene does")
    return {
        "margin": round(margin, 6),
        "loss_scene": round(float(compared.rule.mean()), 6),
        "loss_learned": round(float(compared.learned.mean()), 6),
        "loss_with_margin": round(loss, 6),
        "learned_share": round(taken, 4),
    }


def _steps(
    config: SelectorConfig, pool: Sequence[Any], vary: Callable[[Any, np.random.Generator], Any]
) -> Callable[[int], Iterator[Any]]:
    return partial(batches_of, pool, vary, config.batch, config.seed, config.num_steps)


def learned_from(config: SelectorConfig, folder: Path) -> list[PoolVideo]:
    """The videos that are learned from: of the dataset's, those that are not held out for evaluation. What is
    measured of them is kept in the folder."""
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
    return pool_of(dataset, ids[: config.videos], config.pool, learned, folder)
