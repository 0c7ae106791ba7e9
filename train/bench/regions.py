"""Is the subject in the box described, and no other? Videos with two at once; one tiny model learns with boxes drawn, one
without, at equal frames and steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.regions import ABSENT, PROMPT
from data.selection.chosen_frames import jpeg_of
from data.selection.outline import with_outline
from data.sources.microworld import BACKGROUNDS, COLOURS, SHAPES
from train.batches.frames import decode_frames
from train.bench import two_subjects
from train.bench.config_trained import BenchRegionsConfig
from train.bench.seeds import (
    base_that_sees,
    in_pool,
    noted,
    one_core_each,
    told_by,
    train_from_base,
    with_interval,
)
from train.console import say
from train.evaluation.by_sample import references_of
from train.evaluation.intervals import Measure, bootstrap, interval
from train.evaluation.records import Prediction, Reference
from train.evaluation.scoring import score
from train.metrics.scenes import scene_f1

TOLD, HELD = 0, 1
WAYS = ("boxes", "no boxes")
PICTURES = 8000
SCORES = {"f1_tiou>mean": "tIoU F1", "soda_c": "SODA c"}


def compare_regions(config: BenchRegionsConfig) -> dict[str, float]:
    """Render, prepare, train, describe, score; returns flat figures. Results of an earlier call are reused."""
    work = Path(config.work)
    for seed, count in ((TOLD, config.videos), (HELD, config.held_out)):
        listed = two_subjects.write(work, seed, count)
        bare = work / f"bare-{seed}.jsonl"
        lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
        kept = [{**row, "boxes": None, "prompt": PROMPT} for row in lines]
        bare.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        for way, rows in zip(WAYS, (listed, bare), strict=True):
            keys = [
                "source=jsonl", f"source.path={rows}", f"frames.max={config.frames}", "frames.px=96",
                f"out={_dataset(config, way, seed)}",
            ]  # fmt: skip
            prepare(load(PrepareConfig, keys))
    calls = [(config, way, seed) for seed in config.seeds for way in WAYS]
    with one_core_each(config.workers) as pool:
        warm = [(config, seed) for seed in config.seeds]
        in_pool(pool, "learn to look into boxes", looking_base, warm)
        said = in_pool(pool, "train and describe", train_and_describe, calls)
    of = {(way, seed): one for (_, way, seed), one in zip(calls, said, strict=True)}
    figures: dict[str, float] = {}
    lines = [
        "| shown | scene F1 | as of the other subject | stretches without it, told | "
        + " | ".join(SCORES.values())
        + " |",
        "|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        held = Prepared.open(_dataset(config, way, HELD)).rows()
        references = references_of(held)
        every = [score(references, of[way, seed]) for seed in config.seeds]
        noted(figures, way, every, config.seeds, SCORES)
        counted = {
            "scene_f1": [_scenes(references, of[way, s]) for s in config.seeds],
            "swapped": [_scenes(references, _swapped(of[way, s])) for s in config.seeds],
            "away": [_away(held, of[way, s]) for s in config.seeds],
        }
        names = [f"{way}/{name}" for name in (*counted, *SCORES)]
        for name, counts in counted.items():
            one = Measure(name, np.sum(counts, axis=0))
            low, high = interval(bootstrap([one])[:, 0])
            key = f"{way}/{name}"
            figures |= {key: one.value, f"{key}/low": low, f"{key}/high": high}
            for seed, own in zip(config.seeds, counts, strict=True):
                figures[f"{key}/seed_{seed}"] = Measure(name, own).value
        cells = [with_interval(figures, n) for n in names]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    say("\n".join(lines))
    return figures


def _dataset(config: BenchRegionsConfig, way: str, seed: int) -> Path:
    return Path(config.work) / f"{way.replace(' ', '-')}-{seed}"


def _scenes(references: Mapping[str, Reference], said: Mapping[str, Prediction]) -> np.ndarray:
    """(V, 2) sums of scene F1, of what is seen of the subject."""
    counts = []
    for name, reference in references.items():
        told = [e for e in said[name].events if "not in view" not in e.text]
        found, all_told, all_true = scene_f1(
            told, [e for e in reference.events if e.text != ABSENT]
        )
        counts.append((2 * found, all_told + all_true))
    return np.array(counts, float)


def _swapped(said: dict[str, Prediction]) -> dict[str, Prediction]:
    """What is said of one subject, as if it were said of the other."""
    other = {"a": "b", "b": "a"}
    return {name: said.get(name[:-1] + other[name[-1]], Prediction("")) for name in said}


def _away(rows: Dataset, said: dict[str, Prediction]) -> np.ndarray:
    """(V, 2) of each row: stretches without the subject that are told with a tIoU above .5, and how many there are."""
    counts = []
    for row in rows:
        true = [e for e in row["events"] if e["text"] == ABSENT]
        told = [e for e in said[row["sample_id"]].events if "not in view" in e.text]
        found = 0
        for one in true:
            for event in told:
                both = min(one["end_s"], event.end_s) - max(one["start_s"], event.start_s)
                all_s = max(one["end_s"], event.end_s) - min(one["start_s"], event.start_s)
                if both > 0.5 * all_s:
                    found += 1
                    break
        counts.append((found, len(true)))
    return np.array(counts, float)


def looking_base(config: BenchRegionsConfig, seed: int) -> None:
    """Make the model that both ways of a seed start from: its tower has learned, from single pictures, what is in the box
    and what is on the left and on the right."""
    base_that_sees(Path(config.work) / f"base-{seed}", seed, _pictures, config.prewarm_steps)


def _pictures(
    rng: np.random.Generator, size_px: int
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """(N, 3, S, S) uint8 pictures, in half of them one subject outlined, (N, 7) numbers of the classes of colour and shape
    in the box, on the left and on the right, and of the ground; how many classes each has."""
    colours, shapes, grounds = list(COLOURS), list(SHAPES), list(BACKGROUNDS)
    jpegs: list[bytes] = []
    classes: list[list[int]] = []
    while len(jpegs) < PICTURES:
        shot = two_subjects.shots(int(rng.integers(10**6)) + 10**6, 0)[0]
        progress = float(rng.random())
        here = [i for i, one in enumerate(shot.subjects) if one is not None]
        marked = int(rng.choice(here)) if rng.random() < 0.5 else None
        jpeg = jpeg_of(two_subjects.draw(shot, progress))
        if marked is not None:
            x1, y1, x2, y2 = two_subjects.box_of(shot, marked, progress)
            jpeg = with_outline(jpeg, (x1, y1, x2, y2), "red")
        numbers: list[int] = []
        for which in (marked, shot.left, 1 - shot.left):
            scene = None if which is None else shot.subjects[which]
            numbers += (
                [len(colours), len(shapes)]
                if scene is None
                else [colours.index(scene.colour), shapes.index(scene.shape)]
            )
        ground = next(one.background for one in shot.subjects if one is not None)
        classes.append([*numbers, grounds.index(ground)])
        jpegs.append(jpeg)
    kinds = [len(colours) + 1, len(shapes) + 1] * 3 + [len(grounds)]
    return decode_frames(jpegs, size_px), torch.tensor(classes), kinds


def train_and_describe(config: BenchRegionsConfig, way: str, seed: int) -> dict[str, Prediction]:
    """What a model says of each subject of the held-out videos."""
    run = Path(config.work) / f"run-{way.replace(' ', '-')}-{seed}"
    train_from_base(config.work, _dataset(config, way, TOLD), run, steps=config.steps, seed=seed)
    return told_by(run, Prepared.open(_dataset(config, way, HELD)).rows())
