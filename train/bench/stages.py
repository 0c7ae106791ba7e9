"""Is it worth training in stages? Each way trains a model with equal steps in all, each stage going on from the one
before: the connector alone, whole on short clips of one scene, whole on clips of several scenes. The pretrained
language model, where one is given, is the case for which LLaVA's stages are meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.sources.config import SourceKeys
from train.batches.split import split
from train.bench import language_model
from train.bench.config_trained import BenchStagesConfig
from train.bench.policies import CAPTIONS
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    quietly,
    tiny_run,
    told_by,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction
from train.evaluation.scoring import score
from train.run.files import METRICS, read_rows

SHORT_S = (2.0, 4.0)
"""Length of a clip of one scene."""
EVAL_SHARE = 0.1


@dataclass(frozen=True)
class Stage:
    """A part of a training: its data, its share of the steps, what trains."""

    data: str
    share: float
    connector_alone: bool = False


WAYS: Mapping[str, tuple[Stage, ...]] = {
    "at once": (Stage("dense", 1.0),),
    "connector, then all": (Stage("dense", 0.15, connector_alone=True), Stage("dense", 0.85)),
    "short clips, then dense": (Stage("short", 0.3), Stage("dense", 0.7)),
    "connector, short, dense": (
        Stage("short", 0.15, connector_alone=True),
        Stage("short", 0.25),
        Stage("dense", 0.6),
    ),
    "connector, short, dense with a fifth short": (
        Stage("short", 0.15, connector_alone=True),
        Stage("short", 0.25),
        Stage("mixed", 0.6),
    ),
    "mixed at once": (Stage("mixed", 1.0),),
}


@dataclass(frozen=True)
class Told:
    """What a way's model says of the held-out videos, and its loss on held-out short clips."""

    predictions: dict[str, Prediction]
    short_loss: float


def compare_stages(config: BenchStagesConfig) -> dict[str, float]:
    """Prepare, train, describe, score; returns flat figures. Results of an earlier call are reused."""
    _prepare(config)
    calls = [(config, way, seed) for seed in config.seeds for way in config.ways]
    with one_core_each(config.workers) as pool:
        in_pool(pool, "build", _base, [(config, seed) for seed in config.seeds])
        told = in_pool(pool, "train and describe", train_and_describe, calls)
    of = {(way, seed): one for (_, way, seed), one in zip(calls, told, strict=True)}
    figures: dict[str, float] = {}
    references = references_of(_held_out(config))
    draws: dict[str, np.ndarray] = {}
    for way in config.ways:
        every = [score(references, of[way, seed].predictions) for seed in config.seeds]
        draws[way] = noted(figures, way, every, config.seeds, CAPTIONS)  # (B, M)
        first = config.ways[0]
        note_lead(figures, f"{way}_minus_{first}", way, first, (draws[way], draws[first]), CAPTIONS)
        losses = [of[way, seed].short_loss for seed in config.seeds]
        figures[f"{way}/short_loss"] = float(np.mean(losses))
    say(table(config, figures))
    return figures


def _prepare(config: BenchStagesConfig) -> None:
    work = Path(config.work)

    def keys(name: str, limit: int, film_s: tuple[float, float] | None) -> PrepareConfig:
        return world_keys(
            work / "videos", work / name, limit=limit, frames=config.frames, film_s=film_s
        )

    dense = keys("dense", config.videos, None)
    short = keys("short", config.videos // 2, SHORT_S)
    mixed = dense.model_copy(
        update={
            "source": SourceKeys(),
            "sources": (
                dense.source.model_copy(update={"weight": 4.0}),
                short.source.model_copy(update={"weight": 1.0}),
            ),
            "out": str(work / "mixed"),
        }
    )
    for one in (dense, short, mixed):
        prepare(one)


def _base(config: BenchStagesConfig, seed: int) -> None:
    """The model that all ways of a seed start from; its tower has seen single pictures."""
    if config.language_model is None:
        warmed_base(config.work, seed, config.prewarm_steps)
        return
    folder = Path(config.work) / f"base-{seed}"
    if not (folder / "processor_config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with quietly(folder / "log.txt"):
            read = language_model.read(Path(config.language_model))
            language_model.build(*read, folder, prewarm_steps=config.prewarm_steps, seed=seed)


def _held_out(config: BenchStagesConfig) -> Dataset:
    rows = Prepared.open(f"{config.work}/dense").rows()
    return rows.select(split(rows, EVAL_SHARE, config.held_out).held)


def train_and_describe(config: BenchStagesConfig, way: str, seed: int) -> Told:
    """Train a way's stages, each from the model of the one before, then describe."""
    model = Path(config.work) / f"base-{seed}"
    stages = WAYS[way]
    for number, stage in enumerate(stages):
        out = Path(config.work) / f"run-{way.replace(', ', '-').replace(' ', '_')}-{seed}-{number}"
        tiny_run(
            model,
            f"{config.work}/{stage.data}",
            out,
            steps=round(config.steps * stage.share),
            seed=seed,
            more=[
                f"data.eval_share={EVAL_SHARE}",
                f"data.eval_max={config.held_out}",
                f"eval.also={config.work}/short",
                *config.keys_of(connector_alone=stage.connector_alone),
            ],
        )
        model = out
    losses = [r["eval_also_loss"] for r in read_rows(model / METRICS) if "eval_also_loss" in r]
    return Told(told_by(model, _held_out(config)), losses[-1])


def table(config: BenchStagesConfig, figures: Mapping[str, float]) -> str:
    """A Markdown table, a row a way."""
    lines = [
        f"{len(config.seeds)} seeds, {config.steps} steps in all; mean [95 % interval over videos]",
        "",
        "| trained | " + " | ".join(CAPTIONS.values()) + " | loss on short clips |",
        "|---|" + "---|" * (len(CAPTIONS) + 1),
    ]
    for way in config.ways:
        cells = [with_interval(figures, f"{way}/{n}") for n in CAPTIONS]
        lines.append(f"| {way} | " + " | ".join(cells) + f" | {figures[f'{way}/short_loss']:.3f} |")
    return "\n".join(lines)
