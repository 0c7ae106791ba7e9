"""Is a teacher's telling of many videos worth more than true labels of a few? A run of ours tells unlabelled videos of the
micro-world; pupils learn from that, or from true labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from train.bench.config_trained import BenchTeacherConfig
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    quietly,
    shown_lead,
    told_by,
    train_from_base,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction
from train.evaluation.scoring import score
from train.teacher.command import CAPTIONS, FAILED, caption_videos
from train.teacher.config import CaptionConfig

KNOWN, UNTOLD, HELD = 0, 4, 2
"""Seeds of the micro-world: of the videos that the teacher learned from, of those that it tells, of those that all are
asked about."""
SCORES = {"scene_f1": "scene F1", "f1_tiou>mean": "tIoU F1", "soda_c": "SODA c"}
TEACHER, TAUGHT, FEW, EVERY = "the teacher", "told by the teacher", "few true", "all true"


def compare_teacher(config: BenchTeacherConfig) -> dict[str, float]:
    """Render, prepare, train the teacher, let it tell, train the pupils, describe; returns flat figures. Results of an
    earlier call are reused."""
    work = Path(config.work)
    worlds = {
        TEACHER: (KNOWN, config.known),
        EVERY: (UNTOLD, config.videos),
        FEW: (UNTOLD, config.few),
        "held": (HELD, config.held_out),
    }
    for name, (seed, limit) in worlds.items():
        videos = work / f"videos-{seed}"
        prepare(
            world_keys(videos, _true(config, name), limit=limit, frames=config.frames, seed=seed)
        )
    calls = [(config, kind, seed) for seed in config.seeds for kind in (TAUGHT, FEW, EVERY)]
    with one_core_each(config.workers) as pool:
        every_seed = [(config, seed) for seed in config.seeds]
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        said = in_pool(pool, "train the teacher, which tells", teach, every_seed)
        pupils = in_pool(pool, "train pupils", train_and_describe, calls)
    of = {(TEACHER, seed): one for seed, one in zip(config.seeds, said, strict=True)}
    of |= {call[1:]: one for call, one in zip(calls, pupils, strict=True)}
    figures = _compared(config, of)
    for seed in config.seeds:
        told = Prepared.open(_captions(config, seed) / "prepared")
        failed = (_captions(config, seed) / FAILED).read_text(encoding="utf-8").count("\n")
        figures[f"told/seed_{seed}"] = len(told.rows())
        figures[f"not_told/seed_{seed}"] = failed
    return figures


def _compared(
    config: BenchTeacherConfig, of: dict[tuple[str, int], dict[str, Prediction]]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    references = references_of(Prepared.open(_true(config, "held")).rows())
    shown = {
        TEACHER: f"the teacher, {config.known:,} true labels",
        TAUGHT: f"{config.videos:,} told by the teacher",
        FEW: f"{config.few:,} true labels",
        EVERY: f"{config.videos:,} true labels",
    }
    lines = ["| learned from | " + " | ".join(SCORES.values()) + " |", "|---|---|---|---|"]
    draws: dict[str, np.ndarray] = {}
    for kind, words in shown.items():
        every = [score(references, of[kind, seed]) for seed in config.seeds]
        draws[kind] = noted(figures, kind, every, config.seeds, SCORES)
        cells = [with_interval(figures, f"{kind}/{n}") for n in SCORES]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    note_lead(figures, "gained", TAUGHT, FEW, (draws[TAUGHT], draws[FEW]), SCORES)
    cells = [shown_lead(figures, f"gained/{n}") for n in SCORES]
    lines.append("| told by the teacher − few true labels | " + " | ".join(cells) + " |")
    say("\n".join(lines))
    return figures


def _true(config: BenchTeacherConfig, name: str) -> Path:
    return Path(config.work) / name.replace(" ", "-")


def _captions(config: BenchTeacherConfig, seed: int) -> Path:
    return Path(config.work) / f"captions-{seed}"


def teach(config: BenchTeacherConfig, seed: int) -> dict[str, Prediction]:
    """Train the teacher and let it tell the unlabelled videos, as `scripts/caption.py` does; returns what it says of the
    held-out ones."""
    run, out = Path(config.work) / f"run-teacher-{seed}", _captions(config, seed)
    known = _true(config, TEACHER)
    train_from_base(config.work, known, run, steps=config.known_steps, seed=seed)
    with quietly(run / "tell.txt"):
        keys = [
            f"source.path={config.work}/videos-{UNTOLD}",
            f"adapter={run}",
            f"out={out}",
            "workers=1",
        ]
        caption_videos(load(CaptionConfig, keys))
        keys = ["source=jsonl", f"source.path={out}/{CAPTIONS}", "frames.px=96", "workers=1"]
        prepare(load(PrepareConfig, [*keys, f"frames.max={config.frames}", f"out={out}/prepared"]))
    return told_by(run, Prepared.open(_true(config, "held")).rows())


def train_and_describe(config: BenchTeacherConfig, kind: str, seed: int) -> dict[str, Prediction]:
    """What a pupil says of the held-out videos."""
    run = Path(config.work) / f"run-{kind.replace(' ', '-')}-{seed}"
    data = _captions(config, seed) / "prepared" if kind == TAUGHT else _true(config, kind)
    train_from_base(config.work, data, run, steps=config.steps, seed=seed)
    return told_by(run, Prepared.open(_true(config, "held")).rows())
