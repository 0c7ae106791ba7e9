"""The same samples with grey frames, or with those of another video: what are a video's own frames worth?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset

GREY = 128
"""Of every pixel of a blank frame."""


def others_of(videos: Sequence[str]) -> list[int]:
    """Of each row the number of the nearest row before it that shows another video; of the first ones, of the first
    row after them that does; its own if all show one video."""
    after = next((i for i, video in enumerate(videos) if video != videos[0]), 0)
    found: list[int] = []
    for i, video in enumerate(videos):
        if i < after or after == 0:
            found.append(after or i)
        else:
            found.append(i - 1 if videos[i - 1] != video else found[-1])
    return found


def spread(frames: torch.Tensor, count: int) -> torch.Tensor:
    """`count` of the frames (M, …), evenly, some twice if there are fewer: (count, …)."""
    places = np.linspace(0, len(frames) - 1, count).round().astype(int)
    return frames[torch.from_numpy(places)]


def blank(size_px: int, count: int = 1) -> torch.Tensor:
    """(count, 3, S, S) uint8 grey frames."""
    return torch.full((1, 3, size_px, size_px), GREY, dtype=torch.uint8).expand(count, -1, -1, -1)


@dataclass(frozen=True)
class Swapped:
    """Encoded samples (as `train.batches.dataset.encoded` gives them) with other frames, as many as they have."""

    samples: Dataset
    others: Sequence[int] | None
    """Of each sample the number of that whose frames it gets; None: grey ones."""
    size_px: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        sample: dict[str, Any] = dict(self.samples[i])
        kind = "features" if "features" in sample else "frames"
        own = sample.pop(kind)  # (M, N, H) or (M, 3, S, S)
        if self.others is None:  # seen by the tower, also where the others' features are cached
            return {**sample, "frames": blank(self.size_px, len(own))}
        return {**sample, kind: spread(self.samples[self.others[i]][kind], len(own))}

    def __getitems__(self, places: Sequence[int]) -> list[dict[str, Any]]:
        return [self[i] for i in places]
