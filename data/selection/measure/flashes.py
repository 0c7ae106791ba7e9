"""Frames that are lit otherwise than those around them: a camera's flash, a broken frame, lightning.

They are brighter and crisper than what they show, and a policy that looks for clear frames would take them.
"""

from __future__ import annotations

import numpy as np

from data.selection.measure.signals import Signals

LONGEST = 2
"""Frames; a light that stays is the scene's."""
APART = 8.0
"""Grey levels by which a picture's mean leaves those before and after it."""
AGREE = 0.35
"""Of that: how far apart these may be."""
SAME = 0.5
"""Of how a lit picture differs from them: how much they may differ from each other, to show the same."""


def flashes(signals: Signals) -> np.ndarray:
    """(N,) bool. First by the means of brightness and colour, which a moving camera hardly changes."""
    pictures = signals.small.reshape(len(signals.small), -1)  # (N, 432)
    means = signals.small.reshape(len(signals.small), 3, -1).mean(axis=2)  # (N, 3)
    count = len(means)
    found = np.zeros(count, bool)
    for length in range(1, min(LONGEST, count - 2) + 1):
        before, after = means[: -length - 1], means[length + 1 :]  # of frames i and i + length + 1
        agree = np.abs(before - after).max(axis=1)
        for k in range(1, length + 1):
            inside = means[k : count - length - 1 + k]
            away = np.minimum(np.abs(inside - before), np.abs(inside - after)).max(axis=1)
            for i in np.flatnonzero((away > APART) & (agree < AGREE * away)):
                first, lit, last = (pictures[i + j].astype(np.int16) for j in (0, k, length + 1))
                apart = min(np.abs(lit - first).mean(), np.abs(lit - last).mean())
                found[i + k] |= bool(np.abs(first - last).mean() < SAME * apart)
    return found
