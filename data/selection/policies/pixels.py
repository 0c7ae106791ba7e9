"""Policies that compare each candidate with the last kept frame: by pixels, or by correlation.

Normalised cross-correlation is the method this project began with. Computed directly it is a sum over the
picture for every shift: 128² × 255² multiplications for one pair at 128 × 128. By the correlation theorem
it takes one forward transform per picture and one inverse transform per pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import selection

EPSILON = 1e-6
L1_THRESHOLD, L2_THRESHOLD = 12.0, 20.0  # grey levels, mean and root mean square
CORRELATION_THRESHOLD = 0.9


def l1(signals: Signals, keys: FrameKeys) -> Selection:
    """Keeps a candidate if its mean absolute difference to the last kept one is above `threshold`, in grey
    levels."""
    threshold = L1_THRESHOLD if keys.threshold is None else keys.threshold
    pictures = _thumbs(signals)

    def difference(a: int, b: int) -> float:
        return cv2.norm(pictures[a], pictures[b], cv2.NORM_L1) / pictures[a].size

    return _unlike_the_last(signals, keys, difference, threshold)


def l2(signals: Signals, keys: FrameKeys) -> Selection:
    """Keeps a candidate if its root mean squared difference to the last kept one is above `threshold`, in
    grey levels."""
    threshold = L2_THRESHOLD if keys.threshold is None else keys.threshold
    pictures = _thumbs(signals)

    def difference(a: int, b: int) -> float:
        return cv2.norm(pictures[a], pictures[b], cv2.NORM_L2) / float(np.sqrt(pictures[a].size))

    return _unlike_the_last(signals, keys, difference, threshold)


def correlation(signals: Signals, keys: FrameKeys) -> Selection:
    """Keeps a candidate if its correlation with the last kept one, at the best shift, is below `threshold`.
    `method=frobenius` divides the pictures by their norm but does not subtract the mean: two bright
    pictures then correlate whatever they show.
    """
    threshold = CORRELATION_THRESHOLD if keys.threshold is None else keys.threshold
    similarity = correlator(
        _thumbs(signals),
        frobenius=keys.method == "frobenius",
        max_shift=keys.max_shift,
        circular=keys.circular,
    )
    return _unlike_the_last(signals, keys, lambda a, b: 1 - similarity(a, b), 1 - threshold)


def correlator(
    pictures: np.ndarray,
    *,
    frobenius: bool = False,
    max_shift: int | None = None,
    circular: bool = False,
) -> Callable[[int, int], float]:
    """Pictures (C, S, S) → a function of two indices: the maximum over shifts of the normalised
    cross-correlation of the two pictures; 1 for a picture with itself.

    Each picture is transformed once, on first use.

    Args:
        frobenius: divide the pictures by their Frobenius norm instead of z-scoring them.
        max_shift: largest shift in pixels; None: any.
        circular: shifts wrap around; otherwise pictures are zero-padded to twice the side.
    """
    side = pictures.shape[1]
    padded = side if circular else cv2.getOptimalDFTSize(2 * side - 1)
    reach = side - 1 if max_shift is None else min(max_shift, side - 1)

    @lru_cache(maxsize=2)  # the last kept picture, which is used repeatedly, and the new one
    def spectrum(index: int) -> np.ndarray:
        canvas = np.zeros((padded, padded), np.float32)
        canvas[:side, :side] = normalised(pictures[index], frobenius=frobenius)
        return cv2.dft(canvas)

    def similarity(kept: int, index: int) -> float:
        product = cv2.mulSpectrums(spectrum(index), spectrum(kept), 0, conjB=True)
        lags = cv2.idft(product, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)  # (P, P), lag 0 first
        if 2 * reach + 1 < padded:
            lags = np.roll(lags, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        return float(lags.max()) / (1 if frobenius else side * side)

    return similarity


def normalised(picture: np.ndarray, *, frobenius: bool = False) -> np.ndarray:
    """(S, S) grey levels → z-scores, or divided by the Frobenius norm."""
    grey = picture.astype(np.float32)
    if frobenius:
        return grey / (np.linalg.norm(grey) + EPSILON)
    return (grey - grey.mean()) / (grey.std() + EPSILON)


def _thumbs(signals: Signals) -> np.ndarray:
    assert signals.thumbs is not None, "measured without pictures"
    return signals.thumbs


def _unlike_the_last(
    signals: Signals, keys: FrameKeys, difference: Callable[[int, int], float], threshold: float
) -> Selection:
    """Keeps the first candidate, then each that differs from the last kept one by more than `threshold`.

    Kept frames are ranked by that difference, largest first; the budget takes the first of them.
    """
    kept = [(np.inf, 0)]
    for index in range(1, len(signals.candidates)):
        apart = difference(kept[-1][1], index)
        if apart > threshold:
            kept.append((apart, index))
    best = sorted(kept, key=lambda pair: (-round(pair[0], 6), pair[1]))[: keys.max]
    frames = signals.candidates
    return selection(
        signals,
        [(frames[i], "first" if np.isinf(d) else f"differs by {d:.3g}") for d, i in best],
    )
