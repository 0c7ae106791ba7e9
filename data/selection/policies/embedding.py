"""Policies on image features of the candidates (unit vectors of an encoder), with or without a text query.

The functions do not depend on the encoder: `embedding`'s take features (C, D), `query`'s take the cosine of
each candidate to the query (C,). All return positions among the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import in_order, selection

NEIGHBOUR, LONGVU = 0.9, 0.83  # cosines above which a candidate is a repeat
WINDOW = 16  # LongVU's window, in candidates


def embedding(signals: Signals, keys: FrameKeys) -> Selection:
    """Choose among the candidates by their features, with the function that `method` names."""
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
    """Choose candidates by their cosine to the text `frames.query`."""
    assert signals.relevance is not None, "measured without a query"
    method = keys.method or "aks"
    chosen = (aks if method == "aks" else bolt)(signals.relevance, keys.max)
    return in_order(signals, signals.candidates[chosen].tolist(), f"query ({method})")


def neighbour(features: np.ndarray, budget: int, threshold: float = NEIGHBOUR) -> list[int]:
    """ShareGPT4Video's filter: keeps the first candidate, then each whose cosine to the last kept one is
    below `threshold`. Returned by increasing cosine to the kept one before."""
    kept = [(-1.0, 0)]
    for i in range(1, len(features)):
        cosine = float(features[i] @ features[kept[-1][1]])
        if cosine < threshold:
            kept.append((cosine, i))
    return [i for _, i in sorted(kept)[:budget]]


def farthest(features: np.ndarray, budget: int) -> list[int]:
    """Farthest-first traversal from the medoid, a 2-approximation of k-center (VKF)."""
    centre = features.mean(axis=0)
    chosen = [int((features @ centre).argmax())]
    closest = 1 - features @ features[chosen[0]]  # (C,) distance to the nearest chosen one
    while len(chosen) < min(budget, len(features)):
        closest[chosen] = -np.inf
        chosen.append(int(np.round(closest, 6).argmax()))
        closest = np.minimum(closest, 1 - features @ features[chosen[-1]])
    return chosen


def facility(features: np.ndarray, budget: int) -> list[int]:
    """Greedy facility location: each pick adds most to Σ max cosine (at least 1 - 1/e of the optimum)."""
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
    """MaxInfo (arXiv 2502.03183): the rows of the truncated left singular vectors that span the largest
    volume. Greedy: each pick is the row farthest from the span of those before, until none lies outside."""
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
    """LongVU: keeps of each window of 16 the candidates whose mean cosine to the window is below `threshold`,
    and the middle one. If these exceed the budget, `budget` of them at an even stride."""
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
    """ReTaKe's DPSelect: ranks candidates by their distance to the one before, local maxima first."""
    apart = np.r_[1.0, 1 - (features[1:] * features[:-1]).sum(axis=1)]
    padded = np.pad(apart, 1, constant_values=-np.inf)
    peak = apart >= np.maximum(padded[:-2], padded[2:])
    order = np.argsort(-np.round(apart + 2 * peak, 6), kind="stable")
    return [int(i) for i in order[:budget]]


def aks(relevance: np.ndarray, budget: int, depth: int = 5, gap: float = 0.8) -> list[int]:
    """AKS (CVPR 2025): a span is halved, up to `depth` times, unless its best frames score more than `gap`
    above its mean. Each leaf gets budget / 2^level frames, its best. Frames lost to rounding go to the best
    of the others.
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
    """BOLT (CVPR 2025): inverse transform sampling of the min-max scaled similarity ** `power`."""
    spread = float(np.ptp(relevance))
    weight = ((relevance - relevance.min()) / spread) ** power if spread else relevance * 0 + 1.0
    share = np.cumsum(weight) / weight.sum()
    wanted = np.linspace(1 / budget, 1 - 1 / budget, budget) if budget > 1 else np.array([0.5])
    picked = np.searchsorted(share, wanted).clip(0, len(share) - 1)
    return sorted({int(i) for i in picked})
