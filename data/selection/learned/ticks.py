"""A video as a short sequence for the selector: ticks of a quarter of a second, each with its clearest frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.selection.learned.boundaries import Weights, features_and_probabilities
from data.selection.measure.flashes import flashes
from data.selection.measure.played import played_s
from data.selection.measure.signals import Signals

TICK_S, MOST_TICKS = 0.25, 1024
"""Length of a tick, longer for a video that would have more than so many."""


@dataclass(frozen=True)
class Ticks:
    """The T ticks of a video in which there is a frame."""

    frames: np.ndarray
    """(T,) index of the clearest frame of each tick that is no flash."""
    times_s: np.ndarray
    """(T,) time of these frames, without gaps in the recording."""
    pictures: np.ndarray
    """(T, 432) uint8 their small pictures."""
    told: np.ndarray
    """(T, `NUM_TOLD`) float32: mean and maximum of the features of a tick's frames, highest probabilities of a cut
    and of a gradual transition, clearness, place in the video."""

    def __len__(self) -> int:
        return len(self.frames)


def ticks_of(signals: Signals, boundaries: Weights) -> Ticks:
    """The ticks of a video, as `boundaries` sees its shots."""
    times_s = played_s(signals.times_s)
    length_s = float(times_s[-1] - times_s[0])
    step_s = max(TICK_S, (length_s + 1e-3) / MOST_TICKS)
    tick = ((times_s - times_s[0]) / step_s).astype(np.int64)  # (N,)
    starts = np.flatnonzero(np.diff(tick, prepend=-1))  # (T,) first frame of each
    features, found = features_and_probabilities(boundaries, signals.small, signals.times_s)
    seen = found[:, :2]  # (N, 2)
    counts = np.diff(np.r_[starts, len(tick)])[:, None]
    clear = np.where(flashes(signals), -1.0, signals.clearness)
    order = np.lexsort((-clear, tick))  # the clearest frame of each tick comes first
    frames = order[starts]
    usual = float(np.median(signals.clearness)) + 1e-6
    told = np.concatenate(
        [
            np.add.reduceat(features, starts) / counts,
            np.maximum.reduceat(features, starts),
            np.maximum.reduceat(seen, starts),
            np.log1p(np.maximum(signals.clearness[frames], 0) / usual)[:, None],
            ((times_s[frames] - times_s[0]) / max(length_s, 1e-3))[:, None],
        ],
        axis=1,
    )
    pictures = signals.small[frames].reshape(len(frames), -1)
    return Ticks(frames, times_s[frames] - times_s[0], pictures, told.astype(np.float32))
