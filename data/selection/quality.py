"""Metrics of a selection that need no model: coverage of events and content, errors of times and shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.selection.measure.shots import Transition


@dataclass(frozen=True)
class Recall:
    """Events with at least one chosen frame, summed over videos."""

    hit: int
    total: int
    per_video: tuple[float, ...]

    @property
    def micro(self) -> float:
        """Share of all events."""
        return self.hit / self.total if self.total else 1.0

    @property
    def macro(self) -> float:
        """Mean of the videos' shares."""
        return float(np.mean(self.per_video)) if self.per_video else 1.0

    @property
    def fully_covered(self) -> float:
        """Share of videos with every event hit."""
        return float(np.mean([r == 1.0 for r in self.per_video])) if self.per_video else 1.0


def events_hit(times_s: Sequence[float], events: Sequence[tuple[float, float]]) -> int:
    """How many half-open events `[start_s, end_s)` contain a chosen time."""
    chosen = np.sort(np.asarray(times_s, dtype=np.float64))
    return sum(int(np.searchsorted(chosen, b) > np.searchsorted(chosen, a)) for a, b in events)


@dataclass(frozen=True)
class Matches:
    """Counts of predicted transitions against labelled ones."""

    matched: int
    missed: int
    false: int

    def __add__(self, other: Matches) -> Matches:
        return Matches(
            self.matched + other.matched, self.missed + other.missed, self.false + other.false
        )

    def __str__(self) -> str:
        return f"{self.matched} found, {self.missed} missed, {self.false} false"

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there are neither labels nor predictions."""
        wrong = self.missed + self.false
        return 2 * self.matched / (2 * self.matched + wrong) if self.matched + wrong else 1.0


def match_cuts(
    predicted: Sequence[Transition], labelled: Sequence[Transition], *, tolerance_s: float
) -> Matches:
    """Match hard cuts one to one: pairs within the tolerance, nearest first (TRECVID's rule, as
    PySceneDetect's benchmark implements it). A cut's time is that of the first frame after it.
    """
    found = [t.end_s for t in predicted if t.hard]
    wanted = [t.end_s for t in labelled if t.hard]
    matched = len(_paired(found, wanted, tolerance_s))
    return Matches(matched, len(wanted) - matched, len(found) - matched)


def _paired(found: Sequence[float], wanted: Sequence[float], within: float) -> set[int]:
    """Positions of those found that are paired with one that is wanted, the nearest pairs first."""
    apart = np.abs(np.subtract.outer(np.asarray(found), np.asarray(wanted)))  # (P, L)
    used_found: set[int] = set()
    used_wanted: set[int] = set()
    for _, i, j in sorted((apart[i, j], i, j) for i, j in np.argwhere(apart <= within + 1e-6)):
        if i not in used_found and j not in used_wanted:
            used_found.add(i)
            used_wanted.add(j)
    return used_found


def match_gradual(predicted: Sequence[Transition], labelled: Sequence[Transition]) -> Matches:
    """Match gradual transitions: a prediction whose middle lies inside a labelled one matches it; a second
    prediction inside the same one is false. A hard cut predicted inside a labelled gradual transition is not
    counted here; `match_cuts` counts it as false.
    """
    wanted = [t for t in labelled if not t.hard]
    found = [(t.start_s + t.end_s) / 2 for t in predicted if not t.hard]
    matched: set[int] = set()
    for middle_s in found:
        inside = [j for j, t in enumerate(wanted) if t.start_s <= middle_s <= t.end_s]
        matched.update([j for j in inside if j not in matched][:1])
    return Matches(len(matched), len(wanted) - len(matched), len(found) - len(matched))


def match_places(
    predicted: Sequence[Transition], labelled: Sequence[Transition], *, tolerance_s: float
) -> tuple[Matches, Matches]:
    """Matches of cuts and of gradual transitions by where they are, whatever kind is predicted: for detectors
    that know cuts only. A prediction within a labelled gradual transition (± the tolerance) matches it; a second
    one there is false. All others are matched to cuts one to one, within the tolerance, nearest first; what is
    left is false in its own kind. A gradual prediction is where its middle is.
    """
    gradual = [t for t in labelled if not t.hard]
    wanted = [t.end_s for t in labelled if t.hard]
    matched: set[int] = set()
    outside: list[tuple[float, bool]] = []
    false = {True: 0, False: 0}
    for one in predicted:
        at_s = one.end_s if one.hard else (one.start_s + one.end_s) / 2
        inside = [
            j
            for j, t in enumerate(gradual)
            if t.start_s - tolerance_s <= at_s <= t.end_s + tolerance_s
        ]
        if not inside:
            outside.append((at_s, one.hard))
        elif free := [j for j in inside if j not in matched]:
            matched.add(free[0])
        else:
            false[False] += 1
    paired = _paired([at_s for at_s, _ in outside], wanted, tolerance_s)
    for i, (_, hard) in enumerate(outside):
        false[hard] += i not in paired
    return (
        Matches(len(paired), len(wanted) - len(paired), false[True]),
        Matches(len(matched), len(gradual) - len(matched), false[False]),
    )


def nearest_distance(features: np.ndarray, chosen: Sequence[int]) -> tuple[float, float]:
    """Features (N, D) and chosen rows → mean and maximum over all rows of the distance to the nearest
    chosen row, lower is better. The distance is Euclidean ÷ √D: root mean square per value. The mean is
    VKF's Mean Minimum Distance."""
    picked = features[list(chosen)].astype(np.float64)  # (K, D)
    rows = features.astype(np.float64)
    squared = (rows**2).sum(1)[:, None] + (picked**2).sum(1)[None] - 2 * rows @ picked.T  # (N, K)
    nearest = np.sqrt(np.maximum(squared, 0)).min(axis=1)
    grey = np.sqrt(features.shape[1])  # distance per value, in grey levels, whatever D is
    return float(nearest.mean() / grey), float(nearest.max() / grey)


def redundancy(features: np.ndarray, chosen: Sequence[int]) -> float:
    """Mean over the chosen rows of the largest cosine to another chosen row, after subtraction of the
    video's mean; 0 for fewer than two."""
    picked = features[list(chosen)].astype(np.float64) - features.mean(axis=0)  # (K, D)
    if len(picked) < 2:
        return 0.0
    picked /= np.linalg.norm(picked, axis=1, keepdims=True) + 1e-9
    cosine = picked @ picked.T
    np.fill_diagonal(cosine, -1.0)
    return float(cosine.max(axis=1).mean())


def share_in_transitions(times_s: Sequence[float], labelled: Sequence[Transition]) -> float:
    """Share of chosen frames strictly inside a labelled transition."""
    if not len(times_s):
        return 0.0
    inside = [any(t.start_s < time_s < t.end_s for t in labelled) for time_s in times_s]
    return float(np.mean(inside))


def share_unclear(
    luma: np.ndarray, contrast: np.ndarray, sharpness: np.ndarray, chosen: Sequence[int]
) -> float:
    """Share of chosen frames that are black or blank, or less than half as sharp as the median of the 12
    frames (half a second) on either side. All arrays (N,)."""
    if not len(chosen):
        return 0.0
    bad = 0
    for i in chosen:
        around = sharpness[max(0, i - 12) : i + 13]
        bad += bool(luma[i] < 12 or contrast[i] < 4 or sharpness[i] < 0.5 * np.median(around))
    return bad / len(chosen)


def time_error_s(reported_s: Sequence[float], true_s: np.ndarray) -> float:
    """Largest distance of a reported time from the nearest true timestamp (PTS)."""
    if not len(reported_s):
        return 0.0
    apart = np.abs(np.asarray(reported_s)[:, None] - true_s[None, :])  # (K, N)
    return float(apart.min(axis=1).max())
