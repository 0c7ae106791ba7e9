"""Are the right scenes told, in the right order? For the micro-world, where truth is exact."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from data.sample import Event
from data.sources import microworld


def ordered_matches(predicted: Sequence[Hashable | None], reference: Sequence[Hashable]) -> int:
    """Most pairs of equal items in an order-preserving one-to-one match: the longest common
    subsequence (Wagner & Fischer 1974). None matches nothing."""
    best = [0] * (len(reference) + 1)
    for item in predicted:
        previous = best.copy()
        for j, other in enumerate(reference, start=1):
            hit = item is not None and item == other
            best[j] = max(previous[j], best[j - 1], previous[j - 1] + hit)
    return best[-1]


def scene_f1(predicted: Sequence[Event], reference: Sequence[Event]) -> tuple[int, int, int]:
    """(matched, predicted, reference) scenes of one video; a scene is right when its colour, shape
    and background all are. Sum over videos, then F1 = 2·matched / (predicted + reference)."""
    said = [microworld.facts(e.text) for e in predicted]
    true = [microworld.facts(e.text) for e in reference]
    return ordered_matches(said, [t for t in true if t is not None]), len(said), len(true)
