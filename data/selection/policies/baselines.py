"""Policies that look at the clock, at shots or at one number per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.flashes import flashes
from data.selection.measure.shots import shots_from_cuts
from data.selection.measure.signals import Signals
from data.selection.policies.clock import by_clock, middles, nearest
from data.selection.policies.ranking import in_order, selection


def uniform(signals: Signals, keys: FrameKeys) -> Selection:
    """The middles of `max` equal spans of time."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    return in_order(signals, chosen, "evenly spaced")


def fps(signals: Signals, keys: FrameKeys) -> Selection:
    """A fixed rate; where that exceeds the budget, evenly spaced instead (Apollo's finding that a
    rate beats a count, under a cap)."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    capped = ", capped" if round(signals.shown_s * keys.fps) > keys.max else ""
    return in_order(signals, chosen, f"{keys.fps:g} fps{capped}")


def smolvlm(signals: Signals, keys: FrameKeys) -> Selection:
    """What transformers' `SmolVLMVideoProcessor.sample_frames` picks for these frame numbers: at
    one frame a second up to the budget, first and last frame included, and one second left out at
    both ends where the budget is exceeded by two."""
    chosen = by_clock(signals.times_s, signals.shown_s, keys)
    return in_order(signals, chosen, "transformers' sampling")


def keyframes(signals: Signals, keys: FrameKeys) -> Selection:
    """The codec's I-frames; where they outnumber the budget, those nearest to even spacing."""
    frames = np.flatnonzero(signals.key)
    if len(frames) == 0:  # a file cut out of a stream may have none that says so
        frames = np.arange(1)
    if len(frames) > keys.max:
        wanted_s = middles(signals.shown_s, keys.max)
        frames = frames[nearest(signals.times_s[frames], wanted_s)]
    return in_order(signals, frames, "I-frame")


def shots(signals: Signals, keys: FrameKeys) -> Selection:
    """One frame a shot; the longest shots where there are too many."""
    found = longest(signals, shots_from_cuts(signals.times_s, signals.cuts_s), keys.max)
    picks = {"first": lambda a, b: a, "middle": lambda a, b: (a + b - 1) // 2}
    clear = np.where(flashes(signals), 0, signals.clearness)
    pick = picks.get(keys.pick, lambda a, b: a + int(clear[a:b].argmax()))
    return selection(signals, [(pick(a, b), f"{keys.pick} of a shot") for a, b in found])


def topn(signals: Signals, keys: FrameKeys) -> Selection:
    """The semi-optimal policy of SOSampler (arXiv 2409.05260): every frame has a value of its own,
    smoothed over time (σ 0.5 s), and the N best are taken. The value here is change times
    sharpness, each as a rank; a learned one would be a classifier's.
    """
    count = len(signals.times_s)
    step_s = max(signals.shown_s / count, 1e-3)
    value = _ranked(signals.change) * _ranked(signals.clearness)
    smooth = gaussian_filter1d(value, sigma=max(0.5 / step_s, 0.5), mode="nearest")
    smooth = np.where(
        flashes(signals), -1.0, smooth
    )  # a flash is much change and shows nothing new
    best = np.argsort(-np.round(smooth, 9), kind="stable")[: keys.max]
    return selection(signals, [(int(i), "value") for i in best])


def longest(
    signals: Signals, found: Sequence[tuple[int, int]], count: int
) -> list[tuple[int, int]]:
    """At most `count` shots, longest first (in time, not frames), earlier first among equals."""
    ends_s = np.append(signals.times_s[1:], signals.shown_s)
    length_s = [ends_s[b - 1] - signals.times_s[a] for a, b in found]
    order = np.argsort(-np.round(length_s, 6), kind="stable")
    return [found[i] for i in order[:count]]


def _ranked(values: np.ndarray) -> np.ndarray:
    """(N,) → ranks from 0 to 1, ties shared."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values, side="right") / len(values)
