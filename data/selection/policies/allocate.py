"""Spreads a budget of frames over shots whose boundaries are known only with a probability.

A chosen frame shows a new shot if a shot boundary lies between it and the chosen frame before it. For
independent boundaries of probability p, the hazard -log(1 - p) adds up and the probability of a new shot is
1 - exp(-hazard). The sum over the chosen frames is the expected number of shots that they show, and dynamic
programming finds its exact maximum. No threshold decides what is a cut. Every second also has a small hazard
of undetected changes, over which the rest of the budget is spread.

The constants were fitted on the even-numbered videos of AutoShot's test labels (recall of shots).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BASE_RATE = 0.05  # hazard of undetected changes per second
EDGE = 0.25  # probability that a frame right at a boundary is not entirely of its shot
BLUR_S = 0.08  # distance from the boundary over which that falls by a factor e
EVEN = 0.01  # value of even spacing, in shots: breaks ties
LEAST = 0.02  # less probable boundaries neither split candidates nor make a frame unclear
MOST_CUTS = 600  # bounds time and memory for a long video


def allocate(
    probability: np.ndarray,
    times_s: np.ndarray,
    frames: np.ndarray,
    budget: int,
    *,
    background: np.ndarray | None = None,
    worth: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose at most `budget` of `frames` that show the largest expected number of shots.

    Args:
        probability: (N,) probability that a shot ends with each frame.
        times_s: (N,) timestamps of the frames.
        frames: (C,) increasing frame indices to choose from.
        background: (N,) cumulative hazard of undetected changes; by default `BASE_RATE` per second.
        worth: (C,) what a shot is worth that a frame shows; by default all are worth 1.

    Returns:
        (K,) frame indices in time order, and (K,) ranks: 0 for the most valuable frame.
    """
    p = np.clip(probability, 0.0, 0.999)  # the expectation hardly changes above this
    if background is None:
        background = BASE_RATE * (times_s - times_s[0])
    hazard = (cumulative(p) + background)[frames]  # (C,)
    clear = _clear(p, times_s, frames)
    if worth is not None:
        clear = clear * worth
    gain = clear[:, None] * -np.expm1(np.minimum(hazard[None, :] - hazard[:, None], 0.0))
    spacing_s = max(float(times_s[-1] - times_s[0]), 1e-9) / budget
    apart = (times_s[frames][:, None] - times_s[frames][None, :]) / spacing_s
    gain += EVEN * -np.expm1(-np.maximum(apart, 0.0))
    gain[~np.tri(len(frames), k=-1, dtype=bool)] = -np.inf  # [y, x]: y comes after x
    best, back = clear, []
    for _ in range(min(budget, len(frames)) - 1):
        total = gain + best  # (C, C) value of the best choice that ends with x, then y
        back.append(total.argmax(axis=1))
        best = np.take_along_axis(total, back[-1][:, None], axis=1)[:, 0]
    chosen = [int(best.argmax())]
    for previous in reversed(back):
        chosen.append(int(previous[chosen[-1]]))
    chosen.reverse()
    return frames[chosen], _ranks(chosen, gain, clear)


def cumulative(probability: np.ndarray) -> np.ndarray:
    """(N,) probabilities below 1 that a shot ends with each frame → (N,) cumulative hazard: no shot ends between
    frames a and b with probability exp(hazard[a] - hazard[b])."""
    return np.asarray(np.r_[0.0, -np.log1p(-probability).cumsum()[:-1]])


def likely_cuts(probability: np.ndarray) -> np.ndarray:
    """Increasing indices of the boundaries more probable than `LEAST`, at most `MOST_CUTS`."""
    likely = np.flatnonzero(probability > LEAST)
    return np.sort(likely[np.argsort(-probability[likely], kind="stable")[:MOST_CUTS]])


def _clear(p: np.ndarray, times_s: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(C,) probability that a frame is entirely of its own shot, not blurred by a boundary nearby."""
    cuts = likely_cuts(p)
    after = np.minimum(cuts + 1, len(p) - 1)
    middles_s = (times_s[cuts] + times_s[after]) / 2
    loss = np.zeros(len(frames))
    for cut, middle_s in zip(cuts, middles_s, strict=True):
        near = np.abs(times_s[frames] - middle_s)
        loss += np.log1p(-EDGE * p[cut] * np.exp(-near / BLUR_S))
    return np.exp(loss)


def _ranks(chosen: Sequence[int], gain: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """(K,) ranks by repeated removal of the frame whose loss costs least; the first to go ranks highest."""
    left = list(range(len(chosen)))
    ranks = np.zeros(len(chosen), np.int64)

    def step(y: int, x: int | None) -> float:
        return float(clear[chosen[y]] if x is None else gain[chosen[y], chosen[x]])

    while left:
        costs = []
        for k, own in enumerate(left):
            before = left[k - 1] if k else None
            cost = step(own, before)
            if k + 1 < len(left):
                cost += step(left[k + 1], own) - step(left[k + 1], before)
            costs.append(cost)
        least = min(range(len(left)), key=lambda k: (round(costs[k], 9), -k))
        gone = left.pop(least)
        ranks[gone] = len(left)
    return ranks
