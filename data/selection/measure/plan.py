"""The plan of the decode pass: what is measured and which pictures are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scenedetect.detector import SceneDetector

from data.selection.measure.candidates import Candidates
from data.selection.measure.transnet import TransitionScores


@dataclass(frozen=True)
class MeasurementPlan:
    """What to measure in addition to the signals of every frame; depends on the policy."""

    candidates: Candidates
    detector: SceneDetector | None = None
    """PySceneDetect's detector that gets every frame."""
    transnet: TransitionScores | None = None
    """TransNetV2, which gets every frame too."""
    thumb_px: int | None = None
    """Side of the candidates' small grey pictures."""
    encode: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    """The image encoder for the candidates: n pictures → (n, D) unit vectors."""
    picture_px: int = 224
    """Short side of the RGB pictures that `encode` gets."""
    text: np.ndarray | None = None
    """(D,) unit vector of the query."""
    vectors: bool = False
    """Also measure the codec's motion vectors."""
