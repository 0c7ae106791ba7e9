"""Shot boundaries as a selector sees them."""

from __future__ import annotations

import numpy as np
import torch

from data.selection.learned.features import NUM_FEATURES, REACH, frame_features
from data.selection.learned.network import PICTURE, SEES, BoundaryNet
from data.selection.measure.shots import Change, kept_apart, runs
from data.selection.measure.signals import Signals

BLOCK = 4096  # frames at a time: a long video takes no more memory than a short one
CUT, GRADUAL = 0.5, 0.5  # probabilities from which a boundary counts
SEEN = 0.15  # probability of a cut below which a frame is not looked at
WITHIN = 0.5  # probability of being within a transition, to which one extends


def boundary_probabilities(
    network: BoundaryNet, small: np.ndarray, times_s: np.ndarray
) -> np.ndarray:
    """(N, 3, 9, 16) small pictures and (N,) times → (N, 3) probabilities: first frame of a shot after a cut;
    within a gradual transition; in the middle of one. The same in blocks as in one piece."""
    return features_and_probabilities(network, small, times_s)[1]


@torch.inference_mode()
def features_and_probabilities(
    network: BoundaryNet, small: np.ndarray, times_s: np.ndarray
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
        seen = torch.from_numpy(pictures.reshape(len(pictures), PICTURE))
        logits = network(torch.from_numpy(features)[None], seen[None])[0]  # (M, 3)
        own = slice(start - low, stop - low)
        found[start:stop], told[start:stop] = logits.sigmoid().numpy()[own], features[own]
    return told, found


def learned_changes(network: BoundaryNet, signals: Signals, min_shot_s: float) -> list[Change]:
    """Cuts and gradual transitions in time order; `ratio` is the probability. Empty if only key frames were
    decoded."""
    if signals.sparse or len(signals.times_s) < 2:
        return []
    probabilities = boundary_probabilities(network, signals.small, signals.times_s)
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
