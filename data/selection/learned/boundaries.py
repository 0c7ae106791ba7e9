"""Shot boundaries as a selector sees them: `BoundaryNet` (`data.selection.learned.network`) in NumPy, because loading
torch takes every worker longer than most videos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data.selection.learned.features import NUM_FEATURES, PICTURE, REACH, frame_features
from data.selection.measure.shots import Change, kept_apart, runs
from data.selection.measure.signals import Signals

Weights = Mapping[str, np.ndarray]
"""Of `BoundaryNet`, by their names in its state."""
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
"""Distances of the frames that its convolutions look at."""
SEES = sum(DILATIONS)
"""Frames on either side that a frame's scores depend on, in addition to what its features depend on."""
BLOCK = 2048  # frames at a time: a long video takes no more memory than a short one
CUT, GRADUAL = 0.5, 0.5  # probabilities from which a boundary counts
SEEN = 0.15  # probability of a cut below which a frame is not looked at
WITHIN = 0.5  # probability of being within a transition, to which one extends
SMALL = 1e-5  # of torch's LayerNorm


def boundary_probabilities(weights: Weights, small: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(N, 3, 9, 16) small pictures and (N,) times → (N, 3) probabilities: first frame of a shot after a cut;
    within a gradual transition; in the middle of one. The same in blocks as in one piece."""
    return features_and_probabilities(weights, small, times_s)[1]


def features_and_probabilities(
    weights: Weights, small: np.ndarray, times_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) the features of frames, and (N, 3) `boundary_probabilities`."""
    count, margin = len(small), REACH + SEES
    found = np.empty((count, 3), np.float32)
    told = np.empty((count, NUM_FEATURES), np.float32)
    for start in range(0, count, BLOCK):
        stop = min(count, start + BLOCK)
        low, high = max(0, start - margin), min(count, stop + margin)
        pictures = small[low:high]
        features = frame_features(pictures, times_s[low:high])
        logits = boundary_logits(weights, features, pictures.reshape(len(pictures), PICTURE))
        own = slice(start - low, stop - low)
        told[start:stop] = features[own]
        found[start:stop] = 1 / (1 + np.exp(-logits[own].clip(-30, 30)))
    return told, found


def boundary_logits(weights: Weights, features: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """(M, F) features and (M, 432) pictures of 0 to 255 → (M, 3) logits, as `BoundaryNet.forward`."""
    w = weights
    seen = (pictures.astype(np.float32) - 128) / 64
    x = features @ w["features.weight"].T + w["features.bias"]  # (M, D)
    x += seen @ w["picture.weight"].T + w["picture.bias"]
    for number, dilation in enumerate(DILATIONS):
        name = f"blocks.{number}"
        h = _normed(x, w[f"{name}.norm.weight"], w[f"{name}.norm.bias"])
        kernel = w[f"{name}.conv.weight"]  # (D, D, 3): of the frame before, this one, the one after
        near = h @ kernel[..., 1].T + w[f"{name}.conv.bias"]
        near[dilation:] += h[:-dilation] @ kernel[..., 0].T
        near[:-dilation] += h[dilation:] @ kernel[..., 2].T
        x += np.maximum(near, 0) @ w[f"{name}.out.weight"].T + w[f"{name}.out.bias"]
    x = _normed(x, w["norm.weight"], w["norm.bias"])
    return np.asarray(x @ w["logits.weight"].T + w["logits.bias"])


def _normed(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Layer normalisation of the rows of (M, D)."""
    x = x - x.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("md,md->m", x, x)[:, None] / x.shape[1] + SMALL)
    return np.asarray(x / spread * scale + shift)


def learned_changes(weights: Weights, signals: Signals, min_shot_s: float) -> list[Change]:
    """Cuts and gradual transitions in time order; `ratio` is the probability. Empty if only key frames were
    decoded."""
    if signals.sparse or len(signals.times_s) < 2:
        return []
    probabilities = boundary_probabilities(weights, signals.small, signals.times_s)
    return kept_apart(changes_of(probabilities), signals.times_s, min_shot_s)


def changes_of(probabilities: np.ndarray) -> list[Change]:
    """(N, 3) probabilities → changes, unordered; they may overlap."""
    first, within, middle = probabilities.T
    count, found = len(first), []
    for start, stop in runs(first > SEEN):
        peak = start + int(first[start:stop].argmax())
        near = float(first[max(0, peak - 1) : peak + 2].sum())  # two frames may share a mixed cut
        if peak > 0 and near > CUT:
            found.append(Change(peak - 1, peak, min(1.0, near)))
    for start, stop in runs(middle > GRADUAL):
        low = high = start + int(middle[start:stop].argmax())
        likely = float(middle[low])
        while low > 0 and within[low - 1] > WITHIN:
            low -= 1
        while high + 1 < count and within[high + 1] > WITHIN:
            high += 1
        if low > 0 and high + 1 < count:
            found.append(Change(low - 1, high + 1, likely))
    return found
