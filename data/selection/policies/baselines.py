"""Baseline policies: by time, by key frames, by PySceneDetect's shots, by one score per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.flashes import flashes
from data.selection.measure.shots import shots_from_cuts
from data.selection.measure.signals import Signals
from data.selection.policies.boundaries import find_shot_cuts
from data.selection.policies.clock import by_clock, middles, nearest
from data.selection.policies.ranking import in_order, selection


def uniform(signals: Signals, keys: FrameKeys) -> Selection:
    """The frames at the middles of `max` equal spans of time."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    return in_order(signals, chosen, "evenly spaced")


def fps(signals: Signals, keys: FrameKeys) -> Selection:
    """`fps` frames per second; if that exceeds the budget, evenly spaced frames instead. Apollo found that
    a fixed rate beats a fixed number of frames."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    capped = ", capped" if round(signals.shown_s * keys.fps) > keys.max else ""
    return in_order(signals, chosen, f"{keys.fps:g} fps{capped}")


def smolvlm(signals: Signals, keys: FrameKeys) -> Selection:
    """The frames that transformers' `SmolVLMVideoProcessor.sample_frames` picks: evenly spaced, `fps` per
    second up to the budget, first and last frame included. If the duration exceeds max × fps by more than
    2 s, one second is left out at both ends."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    return in_order(signals, chosen, "transformers' sampling")


def keyframes(signals: Signals, keys: FrameKeys) -> Selection:
    """The codec's I-frames; if they exceed the budget, those nearest to even spacing."""
    frames = np.flatnonzero(signals.key)
    if len(frames) == 0:  # a file cut out of a stream may mark no frame as key frame
        frames = np.arange(1)
    if len(frames) > keys.max:
        wanted_s = middles(signals.shown_s, keys.max)
        frames = frames[nearest(signals.times_s[frames], wanted_s)]
    return in_order(signals, frames, "I-frame")


def shots(signals: Signals, keys: FrameKeys) -> Selection:
    """One frame per shot of a detector, ranked by the shot's length; `pick` says which frame."""
    found = shots_from_cuts(signals.times_s, find_shot_cuts(signals, keys))
    found = longest(signals, found, keys.max)
    picks = {"first": lambda a, b: a, "middle": lambda a, b: (a + b - 1) // 2}
    clear = np.where(flashes(signals), 0, signals.clearness)
    pick = picks.get(keys.pick, lambda a, b: a + int(clear[a:b].argmax()))
    return selection(signals, [(pick(a, b), f"{keys.pick} of a shot") for a, b in found])


def topn(signals: Signals, keys: FrameKeys) -> Selection:
    """SOSampler's semi-optimal policy (arXiv 2409.05260): the N frames of the highest value, where values
    are smoothed over time (σ 0.5 s). There the value comes from a classifier; here it is the rank of the
    change times the rank of the clearness.
    """
    count = len(signals.times_s)
    step_s = max(signals.shown_s / count, 1e-3)
    value = _ranked(signals.change) * _ranked(signals.clearness)
    smooth = gaussian_filter1d(value, sigma=max(0.5 / step_s, 0.5), mode="nearest")
    # a flash is a large change but shows nothing new
    smooth = np.where(flashes(signals), -1.0, smooth)
    best = np.argsort(-np.round(smooth, 9), kind="stable")[: keys.max]
    return selection(signals, [(int(i), "value") for i in best])


def longest(
    signals: Signals, found: Sequence[tuple[int, int]], count: int
) -> list[tuple[int, int]]:
    """At most `count` shots, longest first by duration; of two equally long, the earlier first."""
    ends_s = np.append(signals.times_s[1:], signals.shown_s)
    length_s = [ends_s[b - 1] - signals.times_s[a] for a, b in found]
    order = np.argsort(-np.round(length_s, 6), kind="stable")
    return [found[i] for i in order[:count]]


def _ranked(values: np.ndarray) -> np.ndarray:
    """(N,) values → (N,) ranks from above 0 to 1; equal values get equal ranks."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values, side="right") / len(values)
