"""Variants of a video to learn from: mirrored, in other colours, brighter or darker. What is worth showing, and where
an event ends, stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from train.selector.pool import PoolVideo
from train.selector.subsets import Judged

STRONGER, BRIGHTER = 0.3, 0.2
"""Most change of the strength of colours and of contrast, as a share."""
OFFSET = 15.0
"""Most change of brightness, in grey levels."""
GREY = 128.0


def varied(video: PoolVideo, rng: np.random.Generator) -> PoolVideo:
    """The video with other small pictures at its ticks, all changed alike."""
    pictures = video.ticks.pictures.reshape(-1, 3, 9, 16).astype(np.float32) - GREY  # (T, 3, 9, 16)
    if rng.random() < 0.5:
        pictures = pictures[..., ::-1]
    turn = rng.uniform(-np.pi, np.pi)
    strength = rng.uniform(1 - STRONGER, 1 + STRONGER)
    mix = strength * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    chroma = np.einsum("ij,tjhw->tihw", mix, pictures[:, 1:])
    luma = pictures[:, :1] * rng.uniform(1 - BRIGHTER, 1 + BRIGHTER) + rng.uniform(-OFFSET, OFFSET)
    changed = np.concatenate([luma, chroma], axis=1) + GREY
    flat = changed.clip(0, 255).astype(np.uint8).reshape(len(pictures), -1)  # (T, 432)
    return replace(video, ticks=replace(video.ticks, pictures=flat))


def varied_judged(one: Judged, rng: np.random.Generator) -> Judged:
    """The same of a video with subsets; what the describer made of them stays."""
    return replace(one, video=varied(one.video, rng))
