"""Is it better to leave out picture tokens that are like the frame before, or frames? Measured on the micro-world: one
tiny model a seed learns from two frames a second, and describes held-out videos with fewer tokens, by both ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from train.batches.split import split
from train.bench.config_trained import BenchTokensConfig
from train.bench.seeds import (
    in_pool,
    noted,
    one_core_each,
    quietly,
    tiny_run,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.answers import answers
from train.evaluation.by_sample import predictions_of, references_of
from train.evaluation.config import GenerateKeys
from train.evaluation.records import Prediction
from train.evaluation.scoring import score
from train.inference.compress import kept_tokens
from train.inference.generate import generation_prompt, load_run
from train.run.saved import read_run

EVAL_SHARE = 0.1
SCORES = {"scene_f1": "scene F1", "f1_one_to_one_tiou>=0.5": "tIoU F1"}
MOST_FRAMES = 48


@dataclass(frozen=True)
class Way:
    """How a held-out video is shown to the model."""

    name: str
    fps: float
    compress: float = 0.0


WAYS = (
    Way("2 frames a second", 2.0),
    Way("a quarter of the tokens left out", 2.0, 0.25),
    Way("half left out", 2.0, 0.5),
    Way("1 frame a second", 1.0),
    Way("three quarters left out", 2.0, 0.75),
    Way("1 frame in 2 seconds", 0.5),
)
TRAINED = WAYS[0]


@dataclass(frozen=True)
class Told:
    """What a model said of the held-out videos in one way."""

    predictions: dict[str, Prediction]
    seconds: float
    """For each video, on one core."""


def compare_compressed(config: BenchTokensConfig) -> dict[str, float]:
    """Prepare, train, describe, score; returns flat figures. Results of an earlier call are reused."""
    work = Path(config.work)
    for fps in {way.fps for way in WAYS}:
        keys = world_keys(
            work / "videos",
            _dataset(config, fps),
            limit=config.videos,
            frames=MOST_FRAMES,
            policy="fps",
            window_s=None,
        )
        frames = keys.frames.model_copy(update={"fps": fps})
        prepare(keys.model_copy(update={"frames": frames}))
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        in_pool(pool, "train", _train, [(config, seed) for seed in config.seeds])
        pairs = [(config, number, seed) for seed in config.seeds for number in range(len(WAYS))]
        told = in_pool(pool, "describe", _describe, pairs)
    of = {(number, seed): one for (_, number, seed), one in zip(pairs, told, strict=True)}
    figures: dict[str, float] = {}
    lines = [
        "| shown | " + " | ".join(SCORES.values()) + " | picture tokens | all tokens | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for number, way in enumerate(WAYS):
        references = references_of(_held_out(config, way.fps))
        every = [score(references, of[number, seed].predictions) for seed in config.seeds]
        key = f"compress/{way.name}"
        noted(figures, key, every, config.seeds, SCORES)
        cells = [with_interval(figures, f"{key}/{name}") for name in SCORES]
        pictures, tokens = _tokens(config, way)
        seconds = float(np.mean([of[number, seed].seconds for seed in config.seeds]))
        figures |= {
            f"{key}/picture_tokens": pictures,
            f"{key}/tokens": tokens,
            f"{key}/seconds": seconds,
        }
        cells += [f"{pictures:.0f}", f"{tokens:.0f}", f"{seconds:.2f}"]
        lines.append(f"| {way.name} | " + " | ".join(cells) + " |")
    say("\n".join(lines))
    return figures


def _dataset(config: BenchTokensConfig, fps: float) -> Path:
    return Path(config.work) / f"fps-{fps:g}"


def _run(config: BenchTokensConfig, seed: int) -> Path:
    return Path(config.work) / f"run-fps-{seed}"


def _held_out(config: BenchTokensConfig, fps: float) -> Dataset:
    rows = Prepared.open(_dataset(config, fps)).rows()
    return rows.select(split(rows, EVAL_SHARE, len(rows)).held)


def _train(config: BenchTokensConfig, seed: int) -> None:
    tiny_run(
        f"{config.work}/base-{seed}",
        _dataset(config, TRAINED.fps),
        _run(config, seed),
        steps=config.steps,
        seed=seed,
        more=[f"data.eval_share={EVAL_SHARE}"],
    )


def _describe(config: BenchTokensConfig, number: int, seed: int) -> Told:
    way, folder = WAYS[number], _run(config, seed)
    run, rows = read_run(folder), _held_out(config, way.fps)
    with quietly(folder / "describe.txt"):
        said = answers(
            run,
            rows,
            GenerateKeys(max_new_tokens=200, batch=16),
            folder / f"answers-{number}.jsonl",
            dtype="fp32",
            overwrite=False,
            compress=way.compress,
        )
    predictions = predictions_of(rows, [s.text for s in said], [s.cut for s in said], run.data)
    return Told(predictions, float(np.mean([s.seconds for s in said])))


def _tokens(config: BenchTokensConfig, way: Way) -> tuple[float, float]:
    """Picture tokens and all tokens of a prompt, on average."""
    run = read_run(_run(config, config.seeds[0]))
    _, processor = load_run(run, "fp32")
    pictures, tokens = [], []
    for row in _held_out(config, way.fps):
        prompt = generation_prompt(row, processor, run.data)
        shape = (len(prompt["frames"]), processor.image_seq_len, 1)
        stay = int(kept_tokens(torch.zeros(shape), way.compress).sum())
        pictures.append(stay)
        tokens.append(len(prompt["input_ids"]) - shape[0] * shape[1] + stay)
    return float(np.mean(pictures)), float(np.mean(tokens))
