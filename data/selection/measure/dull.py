"""How much of a video is black, or stands still, from what was measured of every frame."""

from __future__ import annotations

import numpy as np

from data.selection.measure.signals import Signals

DARK, BLANK = 24.0, 4.0
"""Mean and deviation of the brightness, in grey levels, below which a picture is black."""
STEP_S = 1.0
"""A picture is compared with that of so long before: from frame to frame a slow pan hardly changes."""
STILL = 0.7
"""Mean difference of two small pictures, in grey levels, up to which nothing changed: encoders add some noise."""


def black_share(signals: Signals) -> float:
    """Share of the frames that are black."""
    return float(((signals.luma < DARK) & (signals.contrast < BLANK)).mean())


def still_share(signals: Signals) -> float:
    """Share of the frames that show what was shown a second before; of a shorter video, what its first one shows. Of
    one frame alone: 0, as nothing is known of what it does."""
    times_s = signals.times_s
    before = np.searchsorted(times_s, times_s - STEP_S + 1e-6, side="right") - 1
    first = int((before < 0).sum())
    if first == len(times_s):
        first, before = 1, np.zeros(len(times_s), np.int64)
    if first == len(times_s):
        return 0.0
    now, then = signals.small[first:], signals.small[before[first:]]  # (M, 3, 9, 16)
    apart = np.abs(now.astype(np.int16) - then).mean(axis=(1, 2, 3))
    return float((apart <= STILL).mean())
