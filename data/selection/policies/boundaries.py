"""Shot boundaries by the way that `frames.boundaries` names: our own rules, TransNetV2, both, a selector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.selection.config import FrameKeys
from data.selection.learned.boundaries import learned_changes
from data.selection.learned.selector import selector_of
from data.selection.measure.shots import Change, find_changes, kept_apart, runs
from data.selection.measure.signals import Signals

LIKELY = 0.5  # TransNetV2's own threshold
CERTAIN = 0.99  # probability of a detected shot boundary
SURE = 0.7  # what it adds to our own boundaries; tuned on the synthetic videos' tuning half


def find_boundaries(
    signals: Signals, keys: FrameKeys, jumps: list[Change] | None = None
) -> list[Change]:
    """Cuts, dissolves and fades in time order.

    Args:
        jumps: the result of `find_cuts`, if it is already computed.
    """
    if keys.needs_selector():
        weights = selector_of(keys).boundaries
        return learned_changes(weights, signals, keys.min_shot_s)
    if keys.boundaries == "own" or signals.transnet is None:
        return find_changes(signals, keys.min_shot_s, jumps)
    if keys.boundaries == "both":
        found = [
            *find_changes(signals, keys.min_shot_s, jumps),
            *from_scores(signals.transnet, SURE),
        ]
    else:
        found = from_scores(signals.transnet, LIKELY)
    return kept_apart(found, signals.times_s, keys.min_shot_s)


def cut_probability(changes: Sequence[Change], count: int) -> np.ndarray:
    """(count,) probability that a shot ends with each frame: `CERTAIN` in the middle of each change."""
    probability = np.zeros(count)
    probability[[(c.last + c.first - 1) // 2 for c in changes]] = CERTAIN
    return probability


def find_shot_cuts(signals: Signals, keys: FrameKeys) -> Sequence[float]:
    """Where `frames.detector` sees cuts, in seconds; a gradual transition is one in its middle."""
    if signals.transnet is None:
        return signals.cuts_s
    threshold = LIKELY if keys.threshold is None else keys.threshold
    seen = from_scores(signals.transnet, threshold)
    kept = kept_apart(seen, signals.times_s, keys.min_shot_s)
    return [float(signals.times_s[(c.last + c.first + 1) // 2]) for c in kept]


def from_scores(scores: np.ndarray, threshold: float) -> list[Change]:
    """TransNetV2's scores (N, 2) → its transitions: runs of frames of which the first score exceeds the threshold,
    as long as the second score says. `ratio` is the highest score of the run."""
    middle, within = scores[:, 0], scores[:, 1] > LIKELY
    found = []
    for start, stop in runs(middle > threshold):
        peak = start + int(middle[start:stop].argmax())
        first = last = peak
        while first > 0 and within[first - 1]:
            first -= 1
        while last + 1 < len(within) and within[last + 1]:
            last += 1
        if last - first >= 3:  # a cut is one or two frames long
            found.append(
                Change(max(0, first - 1), min(len(within) - 1, last + 1), float(middle[peak]))
            )
        elif peak + 1 < len(within):
            found.append(Change(peak, peak + 1, float(middle[peak])))
    return found
