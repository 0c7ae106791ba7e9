"""Are long videos described better window by window? Measured on micro-world films, whose references are
exact: one tiny model is trained per way and seed, and describes whole held-out films.

Every way has equal frames, so equal picture tokens, in a prompt, and equal steps. A batch of `one_pass` has half
as many prompts, each with all events of a film: it learns from at least as many events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.target import Unit, timeline
from train.batches.split import split
from train.bench.config_trained import BenchWindowsConfig, Way
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    tiny_run,
    told_by,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction, Reference, parse_prediction
from train.evaluation.scoring import score

CAPTIONS = {
    "scene_f1": "scene F1",
    "f1_one_to_one_tiou>=0.5": "tIoU F1",
    "soda_c": "SODA c",
    "recall_tiou>0.5": "events told",
}
EVAL_SHARE = 1 / 6
ALL_ROWS = 100_000
ANSWER_TOKENS = 2400
"""Longest answer: of a film of ten minutes in one pass."""
GROUPS = {"up to 1 min": (0.0, 60.5), "1 to 2 min": (60.5, 120.0), "2 to 10 min": (120.0, 1e9)}


@dataclass(frozen=True)
class Setting:
    """How a way cuts films and says times."""

    window_s: float | None = 60.0
    clock: Unit = "seconds"
    window_clock: str = "video"
    batch: int = 16


WAYS: dict[Way, Setting] = {
    "windows": Setting(),
    "tenths": Setting(clock="tenths"),
    "own_clock": Setting(window_clock="own"),
    "one_pass": Setting(window_s=None, batch=8),
}


def compare_windows(config: BenchWindowsConfig) -> dict[str, float]:
    """Prepare, train, describe and score; returns flat figures. Results of an earlier call are reused."""
    work = Path(config.work)
    for way in config.ways:
        prepare(
            world_keys(
                work / "videos",
                _dataset(config, way),
                limit=config.films,
                frames=config.frames,
                film_s=config.film_s,
                window_s=WAYS[way].window_s,
            )
        )
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        pairs = [(config, way, seed) for seed in config.seeds for way in config.ways]
        in_pool(pool, "train", _train, pairs)
        said = in_pool(pool, "describe", _describe, pairs)
    told = {(way, seed): one for (_, way, seed), one in zip(pairs, said, strict=True)}
    figures = _figures(config, references_of(_held_out(config, config.ways[0])), told)
    say(table(config, figures))
    (work / "scores.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _dataset(config: BenchWindowsConfig, way: Way) -> Path:
    return Path(config.work) / ("whole" if WAYS[way].window_s is None else "cut")


def _train(config: BenchWindowsConfig, way: Way, seed: int) -> None:
    setting = WAYS[way]
    tiny_run(
        f"{config.work}/base-{seed}",
        _dataset(config, way),
        Path(config.work) / f"run-{way}-{seed}",
        steps=config.steps,
        seed=seed,
        more=[
            f"data.eval_share={EVAL_SHARE}",
            f"data.eval_max={ALL_ROWS}",
            f"data.clock={setting.clock}",
            f"data.window_clock={setting.window_clock}",
            f"train.batch={setting.batch}",
        ],
    )


def _held_out(config: BenchWindowsConfig, way: Way) -> Dataset:
    rows = Prepared.open(_dataset(config, way)).rows()
    return rows.select(split(rows, EVAL_SHARE, ALL_ROWS).held)


def _describe(config: BenchWindowsConfig, way: Way, seed: int) -> dict[str, Prediction]:
    """Predictions for whole films."""
    folder = Path(config.work) / f"run-{way}-{seed}"
    return told_by(folder, _held_out(config, way), most_tokens=ANSWER_TOKENS)


def _figures(
    config: BenchWindowsConfig,
    references: dict[str, Reference],
    told: dict[tuple[Way, int], dict[str, Prediction]],
) -> dict[str, float]:
    """Flat figures by group of lengths. Seeds are summed per film before the bootstrap, so that intervals are
    over films."""
    figures: dict[str, float] = {}
    for group, (low_s, high_s) in GROUPS.items():
        some = {n: r for n, r in references.items() if low_s < r.duration_s <= high_s}
        figures[f"{group}/films"] = len(some)
        if not some:
            continue
        for unit in ("seconds", "tenths"):
            perfect = {n: parse_prediction(timeline(r.events, unit)) for n, r in some.items()}
            best = score(some, perfect)
            figures |= {f"{group}/perfect in {unit}/{n}": best[n].value for n in CAPTIONS}
        draws: dict[Way, np.ndarray] = {}
        for way in config.ways:
            every = [score(some, told[way, seed]) for seed in config.seeds]
            draws[way] = noted(figures, f"{group}/{way}", every, config.seeds, CAPTIONS)
        first = config.ways[0]
        for way in config.ways[1:]:
            key, both = f"{group}/{first}_minus_{way}", (draws[first], draws[way])
            note_lead(figures, key, f"{group}/{first}", f"{group}/{way}", both, CAPTIONS)
    return figures


def table(config: BenchWindowsConfig, figures: dict[str, float]) -> str:
    """A Markdown table by length of the films."""
    lines = [
        f"{len(config.seeds)} seeds, {config.steps} steps, at most {config.frames} frames in a prompt; "
        "mean [95 % interval over films]",
        "",
        "| films | way | " + " | ".join(CAPTIONS.values()) + " |",
        "|---|---|---|---|---|---|",
    ]
    for group in GROUPS:
        count = figures[f"{group}/films"]
        if not count:
            continue
        for way in config.ways:
            cells = [with_interval(figures, f"{group}/{way}/{n}") for n in CAPTIONS]
            lines.append(f"| {group} ({count:.0f}) | {way} | " + " | ".join(cells) + " |")
        for unit in ("seconds", "tenths"):
            cells = [f"{figures[f'{group}/perfect in {unit}/{n}']:.3f}" for n in CAPTIONS]
            lines.append(f"| {group} | perfect in {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
