"""Everything a policy may ask about a video, measured in one decode pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scenedetect.detector import SceneDetector

from data.selection.shots import CutFinder
from data.video import BadVideo, Frame, VideoInfo

SHORT_PX = 144  # the pictures that are measured: PySceneDetect works near this size too


@dataclass(frozen=True)
class Signals:
    """Per-frame measures of the N frames that really decoded."""

    times_s: np.ndarray
    """(N,) strictly increasing presentation times."""
    luma: np.ndarray
    """(N,) mean brightness, 0 to 255."""
    contrast: np.ndarray
    """(N,) standard deviation of brightness."""
    sharpness: np.ndarray
    """(N,) variance of the Laplacian of brightness."""
    cuts_s: tuple[float, ...]
    """First frame after each cut, by the detector that was fed; empty where none was."""
    duration_s: float
    num_announced: int

    @property
    def decoded_share(self) -> float:
        """Frames decoded ÷ frames announced, at most 1."""
        return min(1.0, len(self.times_s) / max(1, self.num_announced))


def measure(
    info: VideoInfo, frames: Iterable[Frame], detector: SceneDetector | None = None
) -> Signals:
    """Look at every frame once; memory does not grow with the pictures.

    Raises:
        BadVideo: not one frame decoded.
    """
    finder = (
        CutFinder(detector, len(info.times_s) / max(info.duration_s, 1e-3)) if detector else None
    )
    rows = []
    for frame in frames:
        grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)  # (H, W)
        mean, spread = cv2.meanStdDev(grey)
        rows.append((frame.time_s, mean[0, 0], spread[0, 0], cv2.Laplacian(grey, cv2.CV_32F).var()))
        if finder is not None:
            finder.see(frame.time_s, frame.rgb)
    if not rows:
        raise BadVideo("no frames", f"{info.path}: no frame can be decoded")
    table = np.asarray(rows, dtype=np.float64)  # (N, 4)
    return Signals(
        times_s=table[:, 0],
        luma=table[:, 1],
        contrast=table[:, 2],
        sharpness=table[:, 3],
        cuts_s=tuple(finder.cuts_s()) if finder is not None else (),
        duration_s=max(info.duration_s, float(table[-1, 0])),
        num_announced=info.num_announced,
    )
