"""Videos in which there is nothing to see: black, still, text on one colour."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from data.selection.measure.dull import BLANK, DARK

STILL = 0.9995
"""Cosine of two neighbouring frames that show no change at all."""
SHORT_S = 3.0
"""A video of one frame is still if it is longer: of equal frames a policy keeps one."""
ONE_COLOUR = 0.6
"""Share of a slide that has one colour, within `NEAR` grey levels."""
NEAR = 10
STROKE = 48
"""Change of brightness between neighbouring pixels at the edge of a letter, in grey levels."""
STROKES, LINES = 10, 0.08
"""A line of text has so many of them; a slide has such lines in at least this share of its height."""


@dataclass(frozen=True)
class Shares:
    """Shares of a row's frames: of all of the video where preparing measured them, else of those that are stored."""

    black: float
    still: float
    """That show what was shown before."""
    slides: float


def shares_of(
    row: Mapping[str, Any],
    jpegs: Sequence[bytes],
    pictures: Sequence[Image.Image],
    looks: np.ndarray,
) -> Shares:
    """The shares of a row.

    Args:
        pictures: its frames as from `reduced`.
        looks: (K, 96) of them.
    """
    length_s = float(row["end_s"]) - float(row["start_s"])
    if not jpegs:
        return Shares(0.0, 0.0, 0.0)
    black, slides = [], []
    for jpeg, picture in zip(jpegs, pictures, strict=True):
        small = np.asarray(picture.getchannel(0), np.int16)  # brightness
        black.append(small.mean() < DARK and small.std() < BLANK)
        slides.append(not black[-1] and _one_colour(small) and _is_text(jpeg))
    if len(jpegs) == 1:
        still = float(length_s > SHORT_S)
    else:
        still = float(((looks[1:] * looks[:-1]).sum(axis=1) >= STILL).mean())
    stored = Shares(float(np.mean(black)), still, float(np.mean(slides)))
    measured = {"black": row["black_share"], "still": row["still_share"]}
    return replace(stored, **{k: v for k, v in measured.items() if v is not None})


def _one_colour(grey: np.ndarray) -> bool:
    usual = np.bincount(grey.ravel(), minlength=256).argmax()
    return bool((np.abs(grey - usual) <= NEAR).mean() >= ONE_COLOUR)


def _is_text(jpeg: bytes) -> bool:
    """Whether there are lines with many strokes."""
    grey = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), np.int16)  # (H, W)
    strokes = (np.abs(np.diff(grey, axis=1)) >= STROKE).sum(axis=1)  # (H,)
    return bool((strokes >= STROKES).mean() >= LINES)
