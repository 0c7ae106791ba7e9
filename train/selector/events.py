"""Trains the events of a selector: where each begins and ends, from the timelines of a dataset, which may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from data.selection.learned.network import TickNet
from data.selection.learned.ticks import TICK_S
from train.selector.pool import PoolVideo
from train.selector.values import numbers_of

CENTRE = 0.3
"""Part of an event's length on either side of its middle in which a tick is to propose it."""
FOCUS = 2.0
"""Exponent of the focal loss (arXiv 1708.02002): ticks that are told apart easily count less."""
SHORTEST_S = 0.05


@dataclass(frozen=True)
class Targets:
    """What the T ticks of a video are to say."""

    score: np.ndarray
    """(T,) 1 in the middle of an event, else 0: a tick near its end would propose a part of it."""
    ends: np.ndarray
    """(T, 2) logarithms of the seconds since its event began and until it ends; of overlapping events, the
    shortest."""


def targets_of(video: PoolVideo) -> Targets:
    times_s = video.ticks.times_s
    score = np.zeros(len(times_s), np.float32)
    ends = np.zeros((len(times_s), 2), np.float32)
    start_s = float(video.row["start_s"])
    longest_first = sorted(video.row["events"], key=lambda e: e["start_s"] - e["end_s"])
    for event in longest_first:
        low, high = event["start_s"] - start_s, event["end_s"] - start_s
        reach = max(CENTRE * (high - low), 1.5 * TICK_S)
        inside = (times_s >= low) & (times_s <= high)
        middle = inside & (np.abs(times_s - (low + high) / 2) <= reach)
        score[middle] = 1
        ends[middle, 0] = np.log(np.maximum(times_s[middle] - low, SHORTEST_S))
        ends[middle, 1] = np.log(np.maximum(high - times_s[middle], SHORTEST_S))
    return Targets(score, ends)


def event_loss(network: TickNet, batch: Sequence[PoolVideo]) -> torch.Tensor:
    """Focal loss of the scores, and at the middles of events the loss of their ends: L1 of the logarithms, and one
    minus intersection over union."""
    scores, far, overlap, count = [], [], [], 0
    for video, numbers in zip(batch, numbers_of(network, batch), strict=True):
        targets = targets_of(video)
        wanted = torch.from_numpy(targets.score)
        each = functional.binary_cross_entropy_with_logits(numbers[:, 0], wanted, reduction="none")
        scores.append((each * (1 - torch.exp(-each)) ** FOCUS).sum())
        middle = wanted == 1
        count += int(middle.sum())
        said, true = numbers[middle, 1:], torch.from_numpy(targets.ends)[middle]  # (P, 2)
        far.append(functional.l1_loss(said, true, reduction="sum") / 2)
        a, b = said.clamp(-6, 8).exp(), true.exp()
        both, either = torch.minimum(a, b).sum(dim=1), torch.maximum(a, b).sum(dim=1)
        overlap.append((1 - both / either).sum())
    losses = torch.stack([torch.stack(part).sum() for part in (scores, far, overlap)])
    return losses.sum() / max(count, 1)
