"""Do learned proposals find the events of held-out micro-world videos, better than shots do?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.sample import Event
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.learned import selector
from data.selection.learned.events import Proposal, best_of, overlap, proposals
from data.selection.learned.network import network_of
from data.selection.policies.boundaries import find_boundaries
from train.bench.config_trained import BenchLearnedConfig
from train.bench.learned import held_pool, learn, measure, prepare_worlds, selector_folder
from train.bench.seeds import in_pool, one_core_each, quietly
from train.console import say

SAME = 0.5
"""Overlap from which a proposal has found an event."""
MOST = 32
LIKELY = 0.5
"""Score from which a proposal counts."""
Counts = tuple[int, int, int]
"""Events that were found, events, proposals."""


def compare_events(config: BenchLearnedConfig) -> dict[str, float]:
    """Prepare, train and count; returns flat figures. Results of an earlier call are reused."""
    prepare_worlds(config)
    measure(config)
    pairs = [(config, world, seed) for world in config.worlds for seed in config.seeds]
    with one_core_each(config.workers) as pool:
        in_pool(pool, "train events", learn, [(*pair, "events") for pair in pairs])
        counted = in_pool(pool, "count", _count, pairs)
    figures: dict[str, float] = {}
    lines = ["| world | proposals | recall | precision | F1 |", "|---|---|---|---|---|"]
    for (_, world, seed), (learned, shots) in zip(pairs, counted, strict=True):
        for name, counts in (("learned", learned), ("shots", shots)):
            found, events, proposed = counts
            recall, precision = found / max(events, 1), found / max(proposed, 1)
            f1 = 2 * found / max(events + proposed, 1)
            key = f"{world}/events/{name}/seed_{seed}"
            figures |= {f"{key}/recall": recall, f"{key}/precision": precision, f"{key}/f1": f1}
            lines.append(
                f"| {world} | {name}, seed {seed} | {recall:.3f} | {precision:.3f} | {f1:.3f} |"
            )
    say("\n".join(lines))
    return figures


def _count(config: BenchLearnedConfig, world: str, seed: int) -> tuple[Counts, Counts]:
    """Of learned proposals, and of shots as proposals."""
    folder = selector_folder(config, world, "events", seed)
    network = network_of(selector.read(str(folder))).events
    keys = FrameKeys(boundaries="learned")
    learned, shots = np.zeros(3, int), np.zeros(3, int)
    with quietly(folder / "count.txt"):
        pool = held_pool(config, world)
    for video in pool:
        events = [Event(**event) for event in video.row["events"]]
        learned += found_by(best_of(proposals(network, video.ticks, MOST), LIKELY), events)
        path = f"{config.work}/videos/{video.row['sample_id']}.mp4"
        signals = analyse(path, keys, threads=1, keep=False).signals
        changes = find_boundaries(signals, keys)
        times_s = signals.times_s
        starts_s = [0.0, *(float(times_s[c.first]) for c in changes)]
        ends_s = [*(float(times_s[c.first]) for c in changes), signals.shown_s]
        whole = [Proposal(a, b, 1.0) for a, b in zip(starts_s, ends_s, strict=True)]
        shots += found_by(whole, events)
    return (
        (int(learned[0]), int(learned[1]), int(learned[2])),
        (int(shots[0]), int(shots[1]), int(shots[2])),
    )


def found_by(proposed: Sequence[Proposal], events: Sequence[Event]) -> np.ndarray:
    """(3,) events that have a proposal of their own with an overlap of `SAME`, events, proposals."""
    left = [Proposal(e.start_s, e.end_s, 1.0) for e in events]
    found = 0
    for one in sorted(proposed, key=lambda p: -p.score):
        overlaps = [overlap(one, event) for event in left]
        if overlaps and max(overlaps) >= SAME:
            left.pop(int(np.argmax(overlaps)))
            found += 1
    return np.array([found, len(events), len(proposed)])
