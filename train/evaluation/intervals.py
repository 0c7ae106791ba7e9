"""A measure over videos: its value, the contribution of each video, and its bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

RESAMPLES = 2000
BLOCK = 100
"""Resamples drawn at a time, which bounds the memory needed."""


def ratio(sums: np.ndarray) -> np.ndarray:
    """(..., 2) → first ÷ second; NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


@dataclass(frozen=True)
class Measure:
    """A figure of a set of videos that is a function of sums over them."""

    name: str
    parts: np.ndarray
    """Contribution of each video to the sums: (N, K)."""
    of: Callable[[np.ndarray], np.ndarray] = ratio
    """Sums (..., K) → the figure (...)."""
    better: Literal["higher", "lower", ""] = "higher"

    @property
    def value(self) -> float:
        return float(self.of(self.parts.sum(axis=0)))

    @property
    def each(self) -> np.ndarray:
        """The figure of every video by itself: (N,)."""
        return self.of(self.parts)


def mean(
    name: str, values: np.ndarray, better: Literal["higher", "lower", ""] = "higher"
) -> Measure:
    """The mean of one number per video. Videos with NaN are left out."""
    values = np.asarray(values, dtype=float)
    known = ~np.isnan(values)
    return Measure(name, np.stack([np.where(known, values, 0.0), known], axis=1), better=better)


def bootstrap(measures: list[Measure], seed: int = 0) -> np.ndarray:
    """Values of the measures on bootstrap resamples of the videos: (B, M).

    Equal N and seed give the same resamples, so that the results of two systems are paired
    (Efron & Tibshirani 1993; Koehn, EMNLP 2004).
    """
    count = len(measures[0].parts)
    rng = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    drawn = []
    for _ in range(RESAMPLES // BLOCK):
        times = rng.multinomial(count, share, size=BLOCK).astype(float)  # (BLOCK, N)
        drawn.append(np.stack([m.of(times @ m.parts) for m in measures], axis=1))
    return np.concatenate(drawn)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values (B,). NaN values are left out; if all are NaN, so are both ends."""
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
