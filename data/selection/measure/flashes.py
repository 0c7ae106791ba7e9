"""Detects flashes: one or two frames lit unlike those around them (camera flash, broken frame, lightning).

They are brighter and crisper than the scene, so a policy that looks for clear frames would choose them.
"""

from __future__ import annotations

import numpy as np

from data.selection.measure.signals import Signals

LONGEST = 2
"""Longest flash in frames; a light that stays longer belongs to the scene."""
APART = 8.0
"""Grey levels by which a flash's mean differs, at least, from those of the frames before and after it."""
AGREE = 0.35
"""Largest difference between the means before and after, as a share of the flash's difference from them."""
SAME = 0.5
"""The same share for whole pictures: the frames before and after must show the same scene."""


def flashes(signals: Signals) -> np.ndarray:
    """(N,) bool: whether each frame is a flash. The means of brightness and colour are compared first: a
    moving camera hardly changes them."""
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
