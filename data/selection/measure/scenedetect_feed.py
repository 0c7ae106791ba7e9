"""Runs PySceneDetect's detectors on the frames of our decode pass: PySceneDetect itself would decode again.

The detectors get timestamps, so that times stay correct with a variable frame rate.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

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

from data.errors import UserError, one_line
from data.selection.config import FrameKeys

TICK = Fraction(1, 1_000_000)
DETECTORS: dict[str, tuple[type[SceneDetector], str, dict[str, Any]]] = {
    "adaptive": (AdaptiveDetector, "adaptive_threshold", {}),
    "content": (ContentDetector, "threshold", {}),
    "hash": (HashDetector, "threshold", {}),
    "histogram": (HistogramDetector, "threshold", {}),
    "threshold": (ThresholdDetector, "threshold", {}),
    # settings of the experiments that this project began with; `min_scene_len` in frames
    "histogram-coarse": (
        HistogramDetector,
        "threshold",
        {"threshold": 0.05, "bins": 256, "min_scene_len": 15},
    ),
    "histogram-fine": (
        HistogramDetector,
        "threshold",
        {"threshold": 0.01, "bins": 256, "min_scene_len": 1},
    ),
}
"""Value of `frames.detector` → class, name of its threshold parameter, preset parameters."""


def detector_of(keys: FrameKeys) -> SceneDetector | None:
    """The detector that `keys` name, with its options; None for a detector that is not PySceneDetect's.

    Raises:
        UserError: the detector does not have a given parameter, or refuses its value.
    """
    if keys.detector not in DETECTORS:
        if keys.detector_options:
            raise UserError(f"frames.detector_options: detector={keys.detector} has none")
        return None
    kind, threshold_name, preset = DETECTORS[keys.detector]
    options: dict[str, Any] = {"min_scene_len": keys.min_shot_s, **preset}
    if keys.threshold is not None:
        options[threshold_name] = keys.threshold
    known = [name for name in inspect.signature(kind).parameters if name != "filter_mode"]
    for name, value in keys.detector_options.items():
        if name not in known:
            raise UserError(
                f"frames.detector_options.{name}: detector={keys.detector} knows {', '.join(known)}"
            )
        options[name] = value
    try:
        if isinstance(options.get("weights"), list):  # hue, saturation, brightness, edges
            options["weights"] = ContentDetector.Components(*options["weights"])
        return kind(**options)
    except (TypeError, ValueError, AssertionError, IndexError) as error:
        line = one_line(error) or type(error).__name__
        raise UserError(
            f"frames.detector_options={keys.detector_options}: detector={keys.detector}: {line}"
        ) from None


class CutFinder:
    """Feeds one detector frame by frame and collects its cuts."""

    def __init__(self, detector: SceneDetector, mean_fps: float):
        self._detector = detector
        self._rate = Fraction(mean_fps).limit_denominator(100_000)
        self._cuts_s: list[float] = []
        self._last: FrameTimecode | None = None

    def update(self, time_s: float, rgb: np.ndarray) -> None:
        """Feed one frame, (H, W, 3) uint8 RGB; it is passed on as BGR."""
        stamp = Timecode(round(time_s / TICK), TICK)
        self._last = FrameTimecode(stamp, fps=self._rate)
        self._keep(self._detector.process_frame(self._last, np.ascontiguousarray(rgb[..., ::-1])))

    def cuts_s(self) -> list[float]:
        """Timestamp of the first frame after each cut; call once, after the last frame."""
        if self._last is not None:
            self._keep(self._detector.post_process(self._last))
        return self.found_s()

    def found_s(self) -> list[float]:
        """`cuts_s` of the frames so far. Some detectors find a cut only some frames later."""
        return sorted(set(self._cuts_s))

    def _keep(self, cuts: Iterable[FrameTimecode]) -> None:
        self._cuts_s.extend(cut.seconds for cut in cuts)
