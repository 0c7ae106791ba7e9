"""Signals of videos that were never drawn: each shot a random picture that trembles a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.selection.measure.signals import Signals, clearness_of


def signals_of(
    times_s: Sequence[float],
    *,
    cuts_s: Sequence[float] = (),
    black: bool = False,
    still: bool = False,
    duration_s: float | None = None,
    candidate_every: int = 1,
    seed: int = 0,
) -> Signals:
    """`cuts_s`: where another picture begins; also what a detector is said to have found."""
    times = np.asarray(times_s, dtype=np.float64)
    count = len(times)
    rng = np.random.default_rng([count, seed])
    shot = np.searchsorted(np.asarray(cuts_s, dtype=np.float64), times + 1e-9, side="right")
    scenes = rng.integers(20, 236, (len(cuts_s) + 1, 3, 9, 16))
    tremble = 0 if still else rng.integers(-2, 3, (count, 3, 9, 16))
    small = np.zeros((count, 3, 9, 16)) if black else scenes[shot] + tremble
    small = np.clip(small, 0, 255).astype(np.uint8)
    apart = np.abs(np.diff(small.astype(np.float64), axis=0)).mean(axis=(2, 3)).sum(axis=1)
    candidates = np.arange(0, count, candidate_every)
    thumbs = np.kron(small[candidates, 0], np.ones((1, 4, 2), np.uint8))[:, :32, :32]
    features = small[candidates].reshape(len(candidates), -1).astype(np.float64) - 127.3
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    sharpness = np.zeros(count) if black else rng.uniform(100, 500, count)
    contrast = small[:, 0].std(axis=(1, 2))
    return Signals(
        times_s=times,
        luma=small[:, 0].mean(axis=(1, 2)),
        contrast=contrast,
        sharpness=sharpness,
        clearness=clearness_of(sharpness, contrast),
        change=np.r_[0.0, apart],
        small=small,
        key=np.isin(np.arange(count), [0, *np.searchsorted(times, cuts_s)]),
        duration_s=duration_s or float(times[-1]) + 0.04,
        shown_s=duration_s or float(times[-1]) + 0.04,
        decoded_share=1.0,
        sparse=False,
        candidates=candidates,
        thumbs=thumbs,
        features=features,
        relevance=features @ features[0],
        motion=rng.uniform(0, 1, count),
        cuts_s=tuple(cuts_s),
    )
