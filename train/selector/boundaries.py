"""Trains the part of a selector that finds shot boundaries, on videos that are rendered as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from data.selection.learned.features import frame_features
from data.selection.learned.network import PICTURE, BoundaryNet
from train.selector.config import SelectorConfig
from train.selector.rendered import rendered, roll
from train.selector.takes import Roll

AT_A_TIME, USES = 64, 24
"""Rolls of which videos are cut at a time, and videos cut of each before others take their place."""
WEIGHTS = (1.0, 0.5, 1.0)
"""Of the losses: first frame of a shot, within a transition, its middle."""


@dataclass(frozen=True)
class Batch:
    """Training videos."""

    features: torch.Tensor
    """(B, N, F)."""
    pictures: torch.Tensor
    """(B, N, 432) uint8."""
    labels: torch.Tensor
    """(B, N, 3)."""


class RenderedBatches(Dataset[Batch]):
    """Batch number i of a seed is always the same, so that a resumed run sees what it would have seen."""

    def __init__(self, seed: int, batch: int, length: int):
        self._seed, self._batch, self._length = seed, batch, length

    def __getitem__(self, number: int) -> Batch:
        first = number * self._batch
        return _stacked([self._video(first + i) for i in range(self._batch)])

    def _video(self, number: int) -> Batch:
        turn, place = divmod(number, AT_A_TIME)
        source = _roll(self._seed, (turn // USES) * AT_A_TIME + place)
        video = rendered(np.random.default_rng([self._seed, number, 1]), source, self._length)
        labels = np.stack([video.first, video.within, video.middle()], axis=1)
        return Batch(
            torch.from_numpy(frame_features(video.small, video.times_s)),
            torch.from_numpy(video.small.reshape(self._length, PICTURE)),
            torch.from_numpy(labels),
        )


@lru_cache(maxsize=AT_A_TIME)
def _roll(seed: int, number: int) -> Roll:
    return roll(seed, number)


def _stacked(videos: list[Batch]) -> Batch:
    return Batch(
        torch.stack([v.features for v in videos]),
        torch.stack([v.pictures for v in videos]),
        torch.stack([v.labels for v in videos]),
    )


def boundary_batches(config: SelectorConfig, start: int) -> Iterator[Batch]:
    """The batches of steps `start` to the last."""
    videos = RenderedBatches(config.seed, config.batch, config.length)
    yield from DataLoader(
        videos,
        batch_size=None,
        sampler=range(start, config.num_steps),
        num_workers=config.workers,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def boundary_loss(network: BoundaryNet, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy of the three logits, per frame."""
    logits = network(batch.features, batch.pictures)  # (B, N, 3)
    each = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
    return (each.mean(dim=(0, 1)) * torch.tensor(WEIGHTS)).sum()
