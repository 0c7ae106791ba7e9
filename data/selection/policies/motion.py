"""The motion policy: equal shares of the video's motion between one chosen frame and the next."""

from __future__ import annotations

import cv2
import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import in_order

EXPONENT = 0.5  # MGSampler's: 0 would be uniform in time, 1 motion alone


def motion(signals: Signals, keys: FrameKeys) -> Selection:
    """MGSampler (ICCV 2021): the frames at which the cumulative sum of motion ** ½ reaches the shares
    (i + ½) / max. `method` is the measure of motion: `ssim` (1 - SSIM of neighbouring candidates), `flow`
    (mean length of their optical flow) or `vectors` (mean length of the codec's motion vectors).
    """
    if keys.method == "vectors":
        assert signals.motion is not None, "measured without motion vectors"
        frames, amount = np.arange(len(signals.times_s)), signals.motion
    else:
        assert signals.thumbs is not None, "measured without pictures"
        measure = _flow if keys.method == "flow" else _unlikeness
        pairs = zip(signals.thumbs[:-1], signals.thumbs[1:], strict=True)
        frames, amount = signals.candidates, np.array([0.0, *(measure(a, b) for a, b in pairs)])
    weight = np.maximum(amount, 0) ** EXPONENT
    weight = weight + 1e-3 * (weight.mean() + 1e-6)  # without motion, shares go by time
    share = np.cumsum(weight) / weight.sum()
    wanted = (np.arange(keys.max) + 0.5) / keys.max
    picked = np.searchsorted(share, wanted).clip(0, len(frames) - 1)
    return in_order(signals, frames[picked].tolist(), f"motion ({keys.method or 'ssim'})")


def _unlikeness(a: np.ndarray, b: np.ndarray) -> float:
    """1 - SSIM (Wang et al. 2004) of two 8-bit pictures, with 7 × 7 mean windows."""
    x, y = a.astype(np.float32), b.astype(np.float32)

    def mean(z: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(z, (7, 7)))

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(1 - ssim.mean())


def _flow(a: np.ndarray, b: np.ndarray) -> float:
    """Mean length of Farnebäck's optical flow ÷ side of the picture."""
    field = cv2.calcOpticalFlowFarneback(
        a, b, np.zeros((*a.shape, 2), np.float32), 0.5, 3, 15, 3, 5, 1.2, 0
    )
    return float(np.linalg.norm(field, axis=2).mean() / a.shape[0])
