"""What the selector's network is told of every frame: differences of the small pictures at several distances.

All come from `Signals.small` and the frames' times, so a training video needs no more than small pictures.
"""

from __future__ import annotations

import cv2
import numpy as np

SIGNALS_VERSION = 1
"""Increased whenever `frame_features` or `Signals.small` tells something else of the same frames."""
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Distances in frames at which pictures are compared."""
HALF_LAGS = (1, 2, 4, 8, 16)
"""Distances to the two frames of which a frame may be a mixture."""
MANY = 12
"""Grey levels by which a cell differs that counts as changed."""
USUAL_STEP_S = 0.04
NUM_FEATURES = len(LAGS) + len(HALF_LAGS) + 8
NUM_TOLD = 2 * NUM_FEATURES + 4
"""Numbers that are told of a tick (`data.selection.learned.ticks`)."""
PICTURE = 432
"""Values of a small picture: luma and two chroma planes of 9 × 16."""
REACH = max(LAGS)
"""A frame's features depend on frames at most so far away."""


def frame_features(small: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(N, 3, 9, 16) uint8 small pictures and (N,) times → (N, `NUM_FEATURES`) float32, about -3 to 5.

    Of each frame: log(1 + mean difference) to the frames `LAGS` before it (the first frame stands for what was
    before it) and to the mixtures of the frames `HALF_LAGS` before and after it; most and share of changed cells
    from the last and the last but one frame; brightness, contrast, change of both; the time since the last.
    """
    count = len(small)
    pictures = small.reshape(count, -1)  # (N, 432)
    luma = small[:, 0].reshape(count, -1)  # (N, 144)
    columns = [np.log1p(_mean(cv2.absdiff(pictures, _shifted(pictures, -lag)))) for lag in LAGS]
    for lag in HALF_LAGS:
        mixture = cv2.addWeighted(_shifted(pictures, -lag), 0.5, _shifted(pictures, lag), 0.5, 0)
        columns.append(np.log1p(_mean(cv2.absdiff(pictures, mixture))))
    for lag in (1, 2):
        apart = cv2.absdiff(luma, _shifted(luma, -lag))
        columns.append(np.log1p(cv2.reduce(apart, 1, cv2.REDUCE_MAX)[:, 0].astype(np.float32)) / 2)
        columns.append(4 * _mean(cv2.threshold(apart, MANY, 1, cv2.THRESH_BINARY)[1]))
    brightness = _mean(luma)
    contrast = np.sqrt(np.maximum(_mean_square(luma) - brightness**2, 0))
    step_s = np.diff(times_s, prepend=times_s[:1])
    step_s[0] = float(np.median(step_s[1:])) if count > 1 else USUAL_STEP_S
    columns += [
        (brightness - 120) / 60,
        np.log1p(contrast) - 2,
        np.diff(brightness, prepend=brightness[:1]) / 20,
        np.log(np.clip(step_s, 1e-3, 10) / USUAL_STEP_S),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _shifted(rows: np.ndarray, by: int) -> np.ndarray:
    """(N, D) → row i is row i + by, or the nearest there is."""
    at = np.arange(len(rows)) + by
    return rows[at.clip(0, len(rows) - 1)]


def _mean(rows: np.ndarray) -> np.ndarray:
    """(N, D) uint8 → (N,) means."""
    total = cv2.reduce(rows, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0]
    return np.asarray(total / rows.shape[1])


def _mean_square(rows: np.ndarray) -> np.ndarray:
    """(N, D) uint8 → (N,) mean squares."""
    total = cv2.reduce(rows, 1, cv2.REDUCE_SUM2, dtype=cv2.CV_32F)[:, 0]
    return np.asarray(total / rows.shape[1])
