"""What is measured of a video's frames: all that a policy may look at (`data.selection.measure.meter`)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data.video.info import shapes_of

cv2.setNumThreads(1)  # the pictures are too small for threads, and each worker has one core

SMALL = (9, 16)  # rows and columns of the small picture that is kept of every frame


@dataclass(frozen=True)
class Signals:
    """Measurements of the N decoded frames, and of the C candidates among them."""

    times_s: np.ndarray
    """(N,) strictly increasing timestamps (PTS)."""
    luma: np.ndarray
    """(N,) mean brightness, 0 to 255."""
    contrast: np.ndarray
    """(N,) standard deviation of brightness."""
    sharpness: np.ndarray
    """(N,) Brenner's focus measure: mean squared difference of pixels two apart."""
    clearness: np.ndarray
    """(N,) sharpness relative to contrast: an over-exposed frame does not count as clearer."""
    change: np.ndarray
    """(N,) mean absolute difference to the frame before, luma at 64 × 36 plus both chroma; first 0."""
    small: np.ndarray
    """(N, 3, 9, 16) uint8: luma and two chroma planes, scaled by averaging."""
    key: np.ndarray
    """(N,) bool: an I-frame that decoding can start from."""
    duration_s: float
    """Duration as players show it, to which labels refer."""
    shown_s: float
    """End of the last frame, by its own duration: policies spread frames over this."""
    decoded_share: float
    """Frames decoded ÷ frames announced, at most 1; estimated if the decoder skipped frames."""
    sparse: bool
    """Only key frames were decoded: neighbours here are not neighbours in the video."""
    candidates: np.ndarray
    """(C,) increasing frame indices: the candidates of the policies that look at pictures."""
    thumbs: np.ndarray | None = None
    """(C, S, S) uint8 brightness of the candidates."""
    features: np.ndarray | None = None
    """(C, D) unit vectors of an image encoder."""
    relevance: np.ndarray | None = None
    """(C,) cosine of each candidate to the query text."""
    motion: np.ndarray | None = None
    """(N,) mean length of the codec's motion vectors ÷ width; 0 where a frame has none."""
    transnet: np.ndarray | None = None
    """(N, 2) TransNetV2's scores of each frame: of the middle of a transition, and of being within one."""
    cuts_s: tuple[float, ...] = ()
    """Timestamp of the first frame after each cut of the PySceneDetect detector, if the plan has one."""

    def __repr__(self) -> str:
        return shapes_of(self)


def sharpness_of(luma: np.ndarray) -> float:
    """Brenner's focus measure of a luma plane (H, W), on about 64 of its rows at full width, because blur
    affects the finest detail first."""
    rows = luma[:: max(1, luma.shape[0] // 64)]
    return cv2.norm(rows[:, 2:], rows[:, :-2], cv2.NORM_L2SQR) / rows.size


SAME_CELL, SAME_MEAN = 6.0, 1.0
"""Grey levels (maximum, mean): small pictures closer than both are copies."""


def copies(small: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(…,) bool: which of the small pictures (…, 3, 9, 16) look like the `other` one (3, 9, 16)."""
    apart = np.abs(small.astype(np.int16) - other)
    axes = (-3, -2, -1)
    return np.asarray((apart.max(axis=axes) < SAME_CELL) & (apart.mean(axis=axes) < SAME_MEAN))


LIT = 20.0
"""Contrast (grey levels) at which the clearness is half of sharpness ÷ contrast²."""


def clearness_of(sharpness: np.ndarray | float, contrast: np.ndarray) -> np.ndarray:
    """Sharpness relative to contrast: twice the contrast alone makes Brenner's measure four times as large. A
    picture of low contrast, as within a fade, stays less clear."""
    return np.asarray(sharpness / (contrast**2 + LIT**2))
