"""Do small frames between full ones tell what moves? SlowFast's question, on the micro-world's verbs.

A scene's verb (moves left, grows, spins …) needs two pictures of it. At equal picture tokens a model sees six whole
frames; fewer, and grids of small ones (`frames.fast`); or, as SlowFast has it, pictures of one token each behind the
whole ones, through a connector of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, load_from_disk
from tqdm import tqdm

from data.selection.choose import Analysis, analyse, encoded
from data.selection.chosen_frames import jpeg_of
from data.selection.config import FrameKeys
from data.selection.policies.boundaries import find_boundaries
from data.sources import microworld
from data.storage import write_atomically
from data.target import timeline
from data.video.video import Video
from train.batches.encode import encode
from train.batches.frames import decode_frames, frame_size_px
from train.bench.config_trained import BenchTokensConfig
from train.bench.own_tokens import Describes, Tail, learn, read
from train.bench.seeds import (
    in_pool,
    noted,
    one_core_each,
    quietly,
    warmed_base,
    with_interval,
)
from train.console import say
from train.evaluation.by_sample import predictions_of, references_of
from train.evaluation.intervals import Measure
from train.evaluation.scoring import score
from train.model.load import Precision, load_model, load_processor
from train.sections import DataKeys, ModelKeys

PX = 96
ANSWER_TOKENS = 160
VERB = re.compile("|".join(microworld.ACTIONS))


@dataclass(frozen=True)
class Case:
    """The frames of a video: so many whole ones, and so many small ones in grids of 2 × 2; or `behind` each whole one so
    many pictures of one token."""

    name: str
    whole: int
    small: int = 0
    behind: int = 0

    @property
    def keys(self) -> FrameKeys:
        most = self.whole + self.small // 4
        return FrameKeys(max=most, px=PX, window_s=None, fast=self.small, fast_grid=2)

    @property
    def slug(self) -> str:
        return f"{self.whole}-{self.small}-{self.behind}"


CASES = (
    Case("6 whole", 6),
    Case("5 whole, 4 small", 5, 4),
    Case("4 whole, 8 small", 4, 8),
    Case("3 whole, 12 small", 3, 12),
    Case("2 whole, 16 small", 2, 16),
    Case("3 whole, 4 pictures of one token behind each", 3, behind=4),
)
HELD_OUT = 0.1


def compare_verbs(config: BenchTokensConfig) -> dict[str, float]:
    """Render, choose frames, train, describe, count; returns flat figures."""
    work = Path(config.work)
    videos = work / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(config.workers) as pool:
        paths = pool.starmap(
            microworld.render, [(0, i, videos) for i in range(config.videos)], chunksize=32
        )
        for case in CASES:
            out = work / f"rows-{case.slug}"
            if not out.exists():
                calls = [(i, str(p), case) for i, p in enumerate(paths)]
                made = pool.imap(_row_of, calls, chunksize=16)
                rows = list(tqdm(made, desc=f"frames of {case.name}", total=len(calls)))
                Dataset.from_list(rows).save_to_disk(out)
    trained = [(config, number, seed) for seed in config.seeds for number in range(len(CASES))]
    with one_core_each(config.workers) as processes:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(processes, "warm up", warmed_base, warm)
        told = in_pool(processes, "train and describe", train_and_describe, trained)
    of = {(number, seed): one for (_, number, seed), one in zip(trained, told, strict=True)}
    figures: dict[str, float] = {}
    lines = [
        "| frames | picture tokens | scene F1 | verbs right, of scenes told | scenes with their verb, F1 | tIoU F1 | "
        "verbs right, each seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, case in enumerate(CASES):
        rows = _held(load_from_disk(str(work / f"rows-{case.slug}")))
        each = [_counts(of[number, seed].texts, rows) for seed in config.seeds]  # (V, 4) of a seed
        every = [
            {name: Measure(name, counts, measure) for name, measure in MEASURES.items()}
            | {TIMES: _times(of[number, seed].texts, rows)}
            for seed, counts in zip(config.seeds, each, strict=True)
        ]
        noted(figures, f"verbs/{case.name}", every, config.seeds, [*MEASURES, TIMES])
        tokens = figures[f"verbs/{case.name}/picture_tokens"] = of[number, config.seeds[0]].tokens
        cells = [with_interval(figures, f"verbs/{case.name}/{n}") for n in (*MEASURES, TIMES)]
        cells.append(", ".join(f"{one['verb_accuracy'].value:.2f}" for one in every))
        lines.append(f"| {case.name} | {tokens:.0f} | " + " | ".join(cells) + " |")
    say("\n".join(lines))
    return figures


def _held(rows: Any) -> Any:
    return rows.select(range(round(len(rows) * HELD_OUT)))


def _counts(texts: Sequence[str], rows: Any) -> np.ndarray:
    return np.array([count(text, row) for text, row in zip(texts, rows, strict=True)])


def _times(texts: Sequence[str], rows: Any) -> Measure:
    found = predictions_of(rows, texts, [False] * len(texts), DataKeys())
    return score(references_of(rows), found)[TIMES]


TIMES = "f1_tiou>mean"
MEASURES = {
    "scene_f1": lambda n: 2 * n[..., 0] / np.maximum(n[..., 2] + n[..., 3], 1),
    "verb_accuracy": lambda n: n[..., 1] / np.maximum(n[..., 0], 1),
    "scene_and_verb_f1": lambda n: 2 * n[..., 1] / np.maximum(n[..., 2] + n[..., 3], 1),
}
"""Of the counts (…, 4): scenes found, those of them with their verb, scenes told, scenes there are."""


def _row_of(call: tuple[int, str, Case]) -> dict[str, Any]:
    """A prepared row."""
    index, path, case = call
    torch.set_num_threads(1)
    keys = case.keys
    found = analyse(path, keys, threads=1, keep=not case.behind)
    if case.behind:
        times_s, ranks = found.selection.times_s, found.selection.ranks
        jpegs = _with_pictures_behind(path, found, case.behind)
    else:
        chosen = encoded(found, keys, threads=1)
        times_s, ranks, jpegs = chosen.times_s, chosen.ranks, list(chosen.jpegs)
    events = microworld.events(microworld.story(0, index))
    return {
        "id": Path(path).stem,
        "sample_id": Path(path).stem,
        "times_s": list(times_s),
        "ranks": list(ranks),
        "duration_s": found.signals.duration_s,
        "start_s": 0.0,
        "end_s": found.signals.duration_s,
        "events": [{"start_s": e.start_s, "end_s": e.end_s, "text": e.text} for e in events],
        "description": timeline(events),
        "prompt": "",
        "system": "",
        "context": "",
        "turns": [],
        "jpegs": jpegs,
    }


def _with_pictures_behind(path: str, found: Analysis, behind: int) -> list[bytes]:
    """JPEGs of the chosen frames, and behind each those of what follows it in its shot, evenly spaced. Before the first
    frame of a shot they begin where the shot does."""
    signals, times_s = found.signals, found.selection.times_s
    cuts_s = [float(signals.times_s[c.first]) for c in find_boundaries(signals, FrameKeys())]
    edges_s = [0.0, *cuts_s, signals.shown_s]
    wanted: list[float] = []
    for n, time_s in enumerate(times_s):
        shot = int(np.searchsorted(edges_s, time_s, side="right")) - 1
        start_s, end_s = edges_s[shot], edges_s[min(shot + 1, len(edges_s) - 1)]
        first = n == 0 or times_s[n - 1] < start_s
        last = n + 1 == len(times_s) or times_s[n + 1] >= end_s
        begins_s = start_s if first else time_s
        ends_s = end_s if last else times_s[n + 1]
        wanted += [time_s, *(begins_s + (ends_s - begins_s) * (np.arange(behind) + 0.5) / behind)]
    at_s = [float(signals.times_s[np.abs(signals.times_s - t).argmin()]) for t in wanted]
    pictures = Video(path).frames_played_at(at_s, short_px=PX, threads=1)
    return [jpeg_of(one.rgb) for one in pictures]


@dataclass(frozen=True)
class Told:
    """What one model says of the held-out videos."""

    texts: Sequence[str]
    tokens: float
    """Picture tokens of a prompt, on average."""


def train_and_describe(config: BenchTokensConfig, number: int, seed: int) -> Told:
    """Train a model on the frames of a case, unless an earlier call did, and let it describe."""
    case = CASES[number]
    file = Path(config.work) / f"verbs-{case.slug}-{seed}.json"
    if file.exists():
        return Told(**json.loads(file.read_text(encoding="utf-8")))
    torch.manual_seed(seed)
    keys = ModelKeys(name=f"{config.work}/base-{seed}")
    processor = load_processor(keys)
    model = load_model(keys, "full", Precision("cpu", torch.float32))
    part = Tail(model, case.behind)
    processor.image_seq_len += case.behind
    rows: Any = load_from_disk(f"{config.work}/rows-{case.slug}")
    held = _held(rows)
    with quietly(file.with_suffix(".log")):
        net = Describes(model, processor, part)
        known = Rows(rows.select(range(len(held), len(rows))), processor, case.behind)
        asked = Rows(held, processor, case.behind)
        learn(net, known, steps=config.steps, seed=seed)
        said = read(net, asked, longest=ANSWER_TOKENS)
    ids = [asked[i]["input_ids"] for i in range(len(asked))]
    tokens = float(np.mean([one.count(processor.image_token_id) for one in ids]))
    write_atomically(file, json.dumps({"texts": said, "tokens": tokens}))
    return Told(said, tokens)


class Rows:
    """Rows, encoded when they are read; their texts once."""

    def __init__(self, rows: Any, processor: Any, behind: int):
        self.rows, self._processor, self._behind = list(rows), processor, behind
        self._size_px = frame_size_px(processor)
        self._texts: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = self.rows[i]
        if i not in self._texts:
            self._texts[i] = encode(row, self._processor, DataKeys())
        text, each = self._texts[i], 1 + self._behind
        jpegs = [row["jpegs"][k * each + n] for k in text.kept for n in range(each)]
        frames = decode_frames(jpegs, self._size_px)
        words = torch.zeros(1, dtype=torch.int64)  # the instruction is one and the same
        return {
            "id": row["id"],
            "input_ids": text.input_ids,
            "labels": text.labels,
            "frames": frames,
            "asked": words,
        }


def count(said: str, row: dict[str, Any]) -> Sequence[int]:
    """Scenes that are named right, those of them with their verb, scenes told, scenes there are."""

    def named(text: str) -> tuple[microworld.Facts | None, str]:
        verb = VERB.search(text)
        return microworld.facts(text), verb[0] if verb else ""

    told = [named(line) for line in said.splitlines()]
    left, found, right = list(told), 0, 0
    for event in row["events"]:
        facts, verb = named(event["text"])
        same = [one for one in left if one[0] == facts]
        if not same:
            continue
        best = (facts, verb) if (facts, verb) in same else same[0]
        left.remove(best)
        found, right = found + 1, right + (best[1] == verb)
    return found, right, len(told), len(row["events"])
