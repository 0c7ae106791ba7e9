"""Frame times without the gaps in which nothing was recorded."""

from __future__ import annotations

import numpy as np

LONG_S, LONG_STEPS = 2.0, 8
"""A gap between two frames that is longer than both (seconds; median frame steps): nothing was recorded."""


def played_s(times_s: np.ndarray) -> np.ndarray:
    """(N,) frame times → the same with recording gaps shortened (a paused recorder, a stray frame hours
    later). What is spread evenly over these times is not wasted on gaps."""
    steps = np.diff(times_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    return np.r_[
        times_s[:1], times_s[0] + np.cumsum(np.minimum(steps, max(LONG_S, LONG_STEPS * usual)))
    ]
