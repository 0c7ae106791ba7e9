"""Quarters of the sharpest frames, for signs and slides: what is too small to read in a whole frame.

A quarter is a frame like any other, with the time of the one that it is cut from. So storing, training, describing
and other programs need nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from data.selection.measure.signals import sharpness_of

QUARTERS = ("upper left", "upper right", "lower left", "lower right")
"""In the order in which they are shown, after the whole frame."""


def sharpest(pictures: Sequence[np.ndarray], count: int) -> list[int]:
    """Positions of the `count` pictures, (H, W, 3) uint8 each, with the most fine detail, as text has it, the first
    one first; of equals the earlier."""
    detail = [sharpness_of(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) for rgb in pictures]
    return np.argsort(-np.array(detail), kind="stable")[:count].tolist()


def quarters(picture: np.ndarray) -> list[np.ndarray]:
    """(H, W, 3) → its `QUARTERS`, together all of it; a picture of one pixel's height or width is its own halves."""
    parts = [picture]
    for axis in (0, 1):
        parts = [half for part in parts for half in _halves(part, axis)]
    return parts


def _halves(picture: np.ndarray, axis: int) -> list[np.ndarray]:
    if picture.shape[axis] == 1:
        return [picture, picture]
    return np.array_split(picture, 2, axis=axis)
