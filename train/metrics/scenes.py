"""Are the right scenes described, in the right order? For the micro-world, whose labels are exact."""

from __future__ import annotations

from collections.abc import Sequence

from data.sample import Event
from data.sources import microworld
from train.metrics.matching import longest_common


def scene_f1(predicted: Sequence[Event], reference: Sequence[Event]) -> tuple[int, int, int]:
    """Numbers of (matched, predicted, reference) scenes of one video. A scene matches if colour, shape and
    background are all right. Sum over videos, then F1 = 2·matched / (predicted + reference)."""
    said = [microworld.facts(e.text) for e in predicted]
    true = [microworld.facts(e.text) for e in reference]
    return longest_common(said, [t for t in true if t is not None]), len(said), len(true)
