"""Events that a selector expects in a video: start, end and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data.selection.learned.network import TickNet
from data.selection.learned.ticks import Ticks
from data.selection.learned.values import run

ALIKE = 0.5
"""Overlap (intersection over union) from which the less likely of two proposals is left out."""


@dataclass(frozen=True)
class Proposal:
    """A stretch of which an event may be told; seconds without gaps in the recording."""

    start_s: float
    end_s: float
    score: float


@torch.inference_mode()
def proposals(network: TickNet, ticks: Ticks, most: int) -> list[Proposal]:
    """At most `most` proposals, the most likely first; at least one. Those that overlap a likelier one by `ALIKE`
    are left out (non-maximum suppression)."""
    numbers = run(network, ticks).numpy()  # (T, 3)
    score = 1 / (1 + np.exp(-numbers[:, 0]))
    start_s = np.maximum(ticks.times_s - np.exp(numbers[:, 1].clip(-6, 8)), 0.0)
    end_s = np.minimum(ticks.times_s + np.exp(numbers[:, 2].clip(-6, 8)), ticks.times_s[-1])
    kept: list[Proposal] = []
    for i in np.argsort(-np.round(score, 6), kind="stable"):
        one = Proposal(float(start_s[i]), max(float(start_s[i]), float(end_s[i])), float(score[i]))
        if all(overlap(one, other) < ALIKE for other in kept):
            kept.append(one)
            if len(kept) == most:
                break
    return kept


def overlap(a: Proposal, b: Proposal) -> float:
    """Intersection over union of two stretches; 1 for two of no length at one time."""
    both = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    either = max(a.end_s, b.end_s) - min(a.start_s, b.start_s)
    return max(0.0, both) / either if either > 0 else 1.0


def best_of(found: Sequence[Proposal], least: float) -> list[Proposal]:
    """Those whose score is at least `least`."""
    return [one for one in found if one.score >= least]
