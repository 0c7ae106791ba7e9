"""PySceneDetect's detectors, used as they are and fed from our decode: its own would be a second
pass. Times go in as timestamps, so that variable frame rates keep their seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from scenedetect import (
    AdaptiveDetector,
    ContentDetector,
    FrameTimecode,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)
from scenedetect.common import Timecode
from scenedetect.detector import SceneDetector

from data.keys import FrameKeys

TICK = Fraction(1, 1_000_000)
SCENE_ADAPTIVE = {"adaptive_threshold": 3.0, "window_width": 2}
"""The `scene` policy's rule: PySceneDetect's best ratio over BBC, AutoShot and ClipShots (its
benchmark table), with the narrower window, so that shots under half a second are kept apart."""


def detector_for(keys: FrameKeys) -> SceneDetector | None:
    """The detector that a policy needs fed during the decode, or None."""
    if keys.policy == "scene":
        return AdaptiveDetector(min_scene_len=keys.min_shot_s, **SCENE_ADAPTIVE)
    if keys.policy != "shots":
        return None
    kinds = {
        "adaptive": (AdaptiveDetector, "adaptive_threshold"),
        "content": (ContentDetector, "threshold"),
        "hash": (HashDetector, "threshold"),
        "histogram": (HistogramDetector, "threshold"),
        "threshold": (ThresholdDetector, "threshold"),
    }
    kind, name = kinds[keys.detector]
    given = {} if keys.threshold is None else {name: keys.threshold}
    return kind(min_scene_len=keys.min_shot_s, **given)


class CutFinder:
    """Feeds one detector frame by frame and remembers the cuts."""

    def __init__(self, detector: SceneDetector, mean_fps: float):
        self._detector = detector
        self._rate = Fraction(mean_fps).limit_denominator(100_000)
        self._cuts_s: list[float] = []
        self._last: FrameTimecode | None = None

    def see(self, time_s: float, rgb: np.ndarray) -> None:
        """One frame, (H, W, 3) uint8; PySceneDetect works on BGR."""
        stamp = Timecode(round(time_s / TICK), TICK)
        self._last = FrameTimecode(stamp, fps=self._rate)
        self._keep(self._detector.process_frame(self._last, np.ascontiguousarray(rgb[..., ::-1])))

    def cuts_s(self) -> list[float]:
        """The time of the first frame after each cut."""
        if self._last is not None:
            self._keep(self._detector.post_process(self._last))
        return sorted(set(self._cuts_s))

    def _keep(self, cuts: Iterable[FrameTimecode]) -> None:
        self._cuts_s.extend(cut.seconds for cut in cuts)


