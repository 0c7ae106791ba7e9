"""Is LLaMA-VID's pair of tokens worth it where questions differ? Several questions about each micro-world video, as the
colour of the second shape; one tiny model for each kind of tokens and seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.sources import microworld
from train.batches.encode import encode
from train.batches.frames import decode_frames, frame_size_px
from train.batches.split import split
from train.bench.config_trained import BenchTokensConfig
from train.bench.own_tokens import Describes, Pair, Tail, learn, read
from train.bench.seeds import in_pool, one_core_each, quietly, warmed_base
from train.bench.verbs import VERB
from train.console import say
from train.demo.world import world_keys
from train.evaluation.intervals import Measure, bootstrap, interval
from train.model.load import Precision, load_model, load_processor
from train.sections import DataKeys, ModelKeys

FRAMES = 6
HELD_OUT = 0.1
NTH = ("first", "second", "third", "fourth", "fifth")
KINDS = ("1 token, the mean widened", "2 tokens, with a context token", "4 tokens, the model's own")


def compare_pairs(config: BenchTokensConfig) -> dict[str, float]:
    """Prepare, train, ask; returns flat figures: the share of right answers. Results of an earlier call are reused."""
    work = Path(config.work)
    prepare(world_keys(work / "videos", work / "asked", limit=config.videos, frames=FRAMES))
    calls = [(config, kind, seed) for seed in config.seeds for kind in range(len(KINDS))]
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        answered = in_pool(pool, "train and ask", train_and_ask, calls)
    of = {(kind, seed): one for (_, kind, seed), one in zip(calls, answered, strict=True)}
    figures: dict[str, float] = {}
    lines = ["| a frame is | right answers [95 %] | each seed |", "|---|---|---|"]
    for kind, name in enumerate(KINDS):
        right = np.stack([of[kind, seed] for seed in config.seeds])  # (seeds, videos, 2)
        low, high = interval(bootstrap([Measure(name, right.sum(0))])[:, 0])
        each = [float(one[:, 0].sum() / one[:, 1].sum()) for one in right]
        key = f"questions/{name}"
        figures |= {key: float(np.mean(each)), f"{key}/low": low, f"{key}/high": high}
        figures |= {f"{key}/seed_{s}": one for s, one in zip(config.seeds, each, strict=True)}
        shown = ", ".join(f"{one:.3f}" for one in each)
        lines.append(f"| {name} | {figures[key]:.3f} [{low:.3f}, {high:.3f}] | {shown} |")
    say("\n".join(lines))
    return figures


def questions(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Questions about a video and their answers, four for each scene."""
    for nth, event in zip(NTH, row["events"], strict=False):
        facts, verb = microworld.facts(event["text"]), VERB.search(event["text"])
        assert facts is not None and verb is not None
        colour, shape, background = facts
        yield f"What colour is the {nth} shape?", colour
        yield f"What is the {nth} shape?", shape
        yield f"On which background is the {nth} shape?", background
        yield f"What does the {nth} shape do?", verb[0]


def train_and_ask(config: BenchTokensConfig, kind: int, seed: int) -> np.ndarray:
    """(V, 2) right answers and questions of each held-out video."""
    file = Path(config.work) / f"questions-{kind}-{seed}.npy"
    if file.exists():
        return np.asarray(np.load(file))
    torch.manual_seed(seed)
    keys = ModelKeys(name=f"{config.work}/base-{seed}", tokens_a_frame=1 if kind == 0 else None)
    processor = load_processor(keys)
    model = load_model(keys, "full", Precision("cpu", torch.float32))
    part = Pair(model) if kind == 1 else Tail(model, 0)
    if kind == 1:
        processor.image_seq_len = 2
    rows = Prepared.open(f"{config.work}/asked").rows()
    parts = split(rows, HELD_OUT, len(rows))
    with quietly(file.with_suffix(".log")):
        net = Describes(model, processor, part)
        known, held = (Asked(rows.select(some), processor) for some in (parts.train, parts.held))
        learn(net, known, steps=config.steps, seed=seed)
        said = read(net, held, longest=8, batch=64)
    counts = np.zeros((len(parts.held), 2), np.int64)
    for (video, _, answer), text in zip(held.every, said, strict=True):
        counts[video] += (text.strip() == answer, 1)
    np.save(file, counts)
    return counts


class Asked:
    """Every question about every video, encoded when it is read."""

    def __init__(self, rows: Any, processor: Any):
        self._rows, self._processor = list(rows), processor
        self._size_px = frame_size_px(processor)
        self.every = [
            (i, question, answer)
            for i, row in enumerate(self._rows)
            for question, answer in questions(row)
        ]

    def __len__(self) -> int:
        return len(self.every)

    def __getitem__(self, i: int) -> dict[str, Any]:
        video, question, answer = self.every[i]
        row = {**self._rows[video], "prompt": question, "events": [], "description": answer}
        text = encode(row, self._processor, DataKeys(target="paragraph"))
        words = self._processor.tokenizer(question, add_special_tokens=False)["input_ids"]
        jpegs = [row["frames"][k]["bytes"] for k in text.kept]
        return {
            "id": row["id"],
            "input_ids": text.input_ids,
            "labels": text.labels,
            "frames": decode_frames(jpegs, self._size_px),
            "asked": torch.tensor(words),
        }
