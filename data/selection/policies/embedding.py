"""Policies on an image encoder's unit vectors of the candidates: without a question, or with one.

Every function works on features (C, D) alone; which encoder made them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import in_order, selection

NEIGHBOUR, LONGVU = 0.9, 0.83  # cosines above which a candidate is a repeat
WINDOW = 16  # LongVU's


def embedding(signals: Signals, keys: FrameKeys) -> Selection:
    """Choose among the candidates by their features; `method` names how."""
    assert signals.features is not None, "measured without an encoder"
    features, method, limit = signals.features, keys.method or "farthest", keys.threshold
    if method == "neighbour":
        chosen = neighbour(features, keys.max, NEIGHBOUR if limit is None else limit)
    elif method == "longvu":
        chosen = longvu(features, keys.max, LONGVU if limit is None else limit)
    else:
        functions = {
            "farthest": farthest,
            "facility": facility,
            "maxvol": maxvol,
            "retake": retake,
        }
        chosen = functions[method](features, keys.max)
    frames = signals.candidates
    return selection(signals, [(int(frames[i]), method) for i in chosen])


def query(signals: Signals, keys: FrameKeys) -> Selection:
    """Choose the candidates that resemble `frames.query`."""
    assert signals.relevance is not None, "measured without a query"
    method = keys.method or "aks"
    chosen = (aks if method == "aks" else bolt)(signals.relevance, keys.max)
    return in_order(signals, signals.candidates[chosen].tolist(), f"query ({method})")


def neighbour(features: np.ndarray, budget: int, threshold: float = NEIGHBOUR) -> list[int]:
    """The first, then each whose cosine to the last kept one is below `threshold`; the least like
    their predecessor first (ShareGPT4Video's filter)."""
    kept = [(-1.0, 0)]
    for i in range(1, len(features)):
        cosine = float(features[i] @ features[kept[-1][1]])
        if cosine < threshold:
            kept.append((cosine, i))
    return [i for _, i in sorted(kept)[:budget]]


def farthest(features: np.ndarray, budget: int) -> list[int]:
    """Farthest-first traversal, a 2-approximation of k-center (VKF), from the medoid."""
    centre = features.mean(axis=0)
    chosen = [int((features @ centre).argmax())]
    closest = 1 - features @ features[chosen[0]]  # (C,) distance to the nearest chosen one
    while len(chosen) < min(budget, len(features)):
        closest[chosen] = -np.inf
        chosen.append(int(np.round(closest, 6).argmax()))
        closest = np.minimum(closest, 1 - features @ features[chosen[-1]])
    return chosen


def facility(features: np.ndarray, budget: int) -> list[int]:
    """Greedy facility location: each pick adds most to Σ max cosine (1 - 1/e of the best)."""
    similar = np.maximum(features @ features.T, 0)  # (C, C)
    best = np.zeros(len(features))
    chosen: list[int] = []
    while len(chosen) < min(budget, len(features)):
        gain = np.maximum(similar - best[:, None], 0).sum(axis=0)
        gain[chosen] = -1
        chosen.append(int(np.round(gain, 6).argmax()))
        best = np.maximum(best, similar[:, chosen[-1]])
    return chosen


def maxvol(features: np.ndarray, budget: int, tolerance: float = 1e-3) -> list[int]:
    """MaxInfo (arXiv 2502.03183): rows of the truncated left singular vectors that span the largest
    volume; greedily, the row farthest from the span of those before, until none is outside it."""
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    rank = max(1, min(budget, int((values > tolerance * values[0]).sum())))
    rest = left[:, :rank] * 1.0  # (C, R) what the chosen rows do not yet span
    chosen: list[int] = []
    while len(chosen) < min(budget, len(features)):
        norms = np.linalg.norm(rest, axis=1)
        norms[chosen] = -1
        pick = int(np.round(norms, 9).argmax())
        if norms[pick] < tolerance and chosen:
            break
        chosen.append(pick)
        unit = rest[pick] / (norms[pick] + 1e-12)
        rest = rest - np.outer(rest @ unit, unit)
    return chosen


def longvu(features: np.ndarray, budget: int, threshold: float = LONGVU) -> list[int]:
    """LongVU: in windows of 16 keep what is on average less alike than `threshold`, and the middle;
    above the budget by even stride."""
    kept: list[int] = []
    for start in range(0, len(features), WINDOW):
        window = features[start : start + WINDOW]
        mean = (window @ window.T).mean(axis=1)
        mean[len(window) // 2] = -np.inf  # always kept
        kept += (start + np.flatnonzero(mean < threshold)).tolist()
    if len(kept) > budget:
        kept = [kept[int((i + 0.5) * len(kept) / budget)] for i in range(budget)]
    return kept


def retake(features: np.ndarray, budget: int) -> list[int]:
    """ReTaKe's DPSelect: local maxima of the distance to the frame before, then the largest."""
    apart = np.r_[1.0, 1 - (features[1:] * features[:-1]).sum(axis=1)]
    padded = np.pad(apart, 1, constant_values=-np.inf)
    peak = apart >= np.maximum(padded[:-2], padded[2:])
    order = np.argsort(-np.round(apart + 2 * peak, 6), kind="stable")
    return [int(i) for i in order[:budget]]


def aks(relevance: np.ndarray, budget: int, depth: int = 5, gap: float = 0.8) -> list[int]:
    """AKS (CVPR 2025): keep a span whose best frames stand out, else halve it, to `depth`; every
    leaf takes its best in proportion to its share. What rounding leaves goes to the best unused.
    """
    spread = float(np.ptp(relevance))
    score = (relevance - relevance.min()) / (spread or 1.0)
    leaves: list[tuple[np.ndarray, int]] = []

    def split(span: np.ndarray, level: int) -> None:
        share = max(1, budget >> level)
        top = np.sort(score[span])[::-1][:share]
        if level == depth or len(span) < 2 or top.mean() - score[span].mean() > gap:
            leaves.append((span, budget >> level))
        else:
            split(span[: len(span) // 2], level + 1)
            split(span[len(span) // 2 :], level + 1)

    split(np.arange(len(score)), 0)
    chosen: list[int] = []
    for span, share in leaves:
        chosen += span[np.argsort(-score[span], kind="stable")[:share]].tolist()
    others = [int(i) for i in np.argsort(-score, kind="stable") if int(i) not in set(chosen)]
    return sorted([*chosen, *others[: budget - len(chosen)]])


def bolt(relevance: np.ndarray, budget: int, power: float = 3.0) -> Sequence[int]:
    """BOLT (CVPR 2025): inverse transform sampling of the min-max scaled similarity to `power`."""
    spread = float(np.ptp(relevance))
    weight = ((relevance - relevance.min()) / spread) ** power if spread else relevance * 0 + 1.0
    share = np.cumsum(weight) / weight.sum()
    wanted = np.linspace(1 / budget, 1 - 1 / budget, budget) if budget > 1 else np.array([0.5])
    picked = np.searchsorted(share, wanted).clip(0, len(share) - 1)
    return sorted({int(i) for i in picked})
