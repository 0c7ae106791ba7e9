"""Videos of the micro-world with poor labels, and others with exact ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.sample import Event
from data.sources import microworld
from train.bench.config_trained import BenchPreferConfig, PoorLabels
from train.demo.world import world_keys

POOR, EXACT, HELD = 0, 1, 2
"""Seeds of the micro-world: no video is in two of the sets."""
JITTER_S = 2.0
INVENTED = 0.15
"""Share of the videos with an invented scene."""
FEW, MANY = 200, 2000


def world_of(config: BenchPreferConfig, name: str, seed: int, limit: int) -> PrepareConfig:
    """Keys of a set of the micro-world's videos."""
    work = Path(config.work)
    return world_keys(work / "videos", work / name, limit=limit, frames=config.frames, seed=seed)


def exact_name(config: BenchPreferConfig, case: PoorLabels) -> str:
    """Folder of the videos with exact labels."""
    return f"exact-{MANY if case == 'few' else config.exact}"


def prepare_case(config: BenchPreferConfig, case: PoorLabels) -> None:
    """The exact set of a case, and its poor one: rows of our own JSON Lines, for the labels are no longer those of
    the micro-world."""
    work = Path(config.work)
    prepare(
        world_of(config, exact_name(config, case), EXACT, MANY if case == "few" else config.exact)
    )
    count = min(FEW, config.videos) if case == "few" else config.videos
    whole = world_of(config, "poor", POOR, config.videos)
    rows = work / f"{case}.jsonl"
    if not rows.exists():
        lines = []
        for number, one in enumerate(microworld.read(whole.source)):
            if number == count:
                break
            poor = poor_labels(case, one.events, np.random.default_rng([POOR, number]))
            events = [[e.start_s, e.end_s, e.text] for e in poor]
            lines.append(json.dumps({"id": one.id, "video": f"{one.id}.mp4", "events": events}))
        rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = str(whole.source.path)
    source = whole.source.model_copy(
        update={"name": "jsonl", "path": str(rows), "videos": folder, "limit": None, "seed": 0}
    )
    prepare(whole.model_copy(update={"source": source, "out": str(work / case)}))


def poor_labels(case: PoorLabels, events: Sequence[Event], rng: np.random.Generator) -> list[Event]:
    """Labels with the fault of a case."""
    if case == "jittered":
        moved = [e.start_s + rng.uniform(-JITTER_S, JITTER_S) for e in events]
        ends = [e.end_s + rng.uniform(-JITTER_S, JITTER_S) for e in events]
        starts = [max(0.0, s) for s in moved]
        return [
            Event(s, max(e, s + 0.5), one.text)
            for s, e, one in zip(starts, ends, events, strict=True)
        ]
    if case == "invented" and rng.random() < INVENTED:
        scene = microworld.story(int(rng.integers(10**6)) + 10**6, 0)[0]
        after = events[int(rng.integers(len(events)))]
        return sorted(
            [*events, Event(after.start_s, after.end_s, scene.text)], key=lambda e: e.start_s
        )
    return list(events)
