"""Compares the policies on labelled videos: the figures of the table in data/README.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from data.bench.synthetic_videos import BuiltVideo
from data.selection import quality
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.measure.shots import transitions

VARIANTS: dict[str, dict[str, dict[str, object]]] = {
    "scene": {
        "scene": {},
        "scene (fast)": {"speed": "fast"},
        "scene (keyframes)": {"speed": "keyframes"},
    },
    "correlation": {"correlation": {}, "correlation (frobenius)": {"method": "frobenius"}},
    "shots": {
        "shots (adaptive)": {},
        "shots (adaptive, first)": {"pick": "first"},
        "shots (content)": {"detector": "content"},
        "shots (hash)": {"detector": "hash"},
        "shots (histogram)": {"detector": "histogram"},
        "shots (histogram-coarse, first)": {"detector": "histogram-coarse", "pick": "first"},
        "shots (histogram-fine, first)": {"detector": "histogram-fine", "pick": "first"},
    },
    "motion": {
        "motion (ssim)": {},
        "motion (flow)": {"method": "flow"},
        "motion (vectors)": {"method": "vectors"},
    },
}
"""Policy → name in the table → keys, for policies with more than one entry."""
ENTRIES: dict[str, dict[str, object]] = {
    name: {"policy": policy, **keys}
    for policy, known in POLICIES.items()
    if known.measures != "features" and policy != "learned"  # they need an encoder or a selector
    for name, keys in VARIANTS.get(policy, {policy: {}}).items()
}
"""Name in the table → keys, for every policy that needs nothing learned."""


@dataclass(frozen=True)
class Score:
    """The metrics of one entry on one video with one budget."""

    video: str
    group: str
    name: str
    budget: int
    hit: int
    total: int
    frames: int
    mean_distance: float
    max_distance: float
    redundancy: float
    in_transition: float
    unclear: float
    time_error_s: float


@dataclass(frozen=True)
class ShotMatches:
    """The detected transitions of one video against its labels."""

    video: str
    group: str
    num_shots: int
    cuts: quality.Matches
    gradual: quality.Matches


def compare(
    videos: Sequence[BuiltVideo],
    budgets: Sequence[int],
    entries: dict[str, dict[str, object]] = ENTRIES,
    *,
    workers: int = 2,
) -> tuple[list[Score], list[ShotMatches]]:
    """Score every entry on every video with every budget, each in a decode pass of its own as for a user."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        work = partial(_compare_one, budgets=budgets, entries=entries)
        results = list(pool.map(work, videos))
    return [score for scores, _ in results for score in scores], [found for _, found in results]


def _compare_one(
    video: BuiltVideo, budgets: Sequence[int], entries: dict[str, dict[str, object]]
) -> tuple[list[Score], ShotMatches]:
    whole = analyse(video.path, FrameKeys(), threads=1, keep=False).signals
    step_s = float(np.median(np.diff(whole.times_s)))
    predicted = transitions(whole, FrameKeys().min_shot_s)
    found = ShotMatches(
        video.id,
        video.group,
        num_shots=len(video.transitions) + 1,
        cuts=quality.match_cuts(predicted, video.transitions, tolerance_s=step_s),
        gradual=quality.match_gradual(predicted, video.transitions),
    )
    features = whole.small.reshape(len(whole.small), -1)
    scores = []
    for name, options in entries.items():
        for budget in budgets:
            keys = FrameKeys.model_validate({**options, "max": budget})
            chosen = analyse(video.path, keys, threads=1, keep=False).selection.times_s
            frames = [int(np.abs(whole.times_s - t).argmin()) for t in chosen]
            mean_distance, max_distance = quality.nearest_distance(features, frames)
            scores.append(
                Score(
                    video.id,
                    video.group,
                    name,
                    budget,
                    hit=quality.events_hit(chosen, video.events),
                    total=len(video.events),
                    frames=len(chosen),
                    mean_distance=mean_distance,
                    max_distance=max_distance,
                    redundancy=quality.redundancy(features, frames),
                    in_transition=quality.share_in_transitions(chosen, video.transitions),
                    unclear=quality.share_unclear(
                        whole.luma, whole.contrast, whole.sharpness, frames
                    ),
                    time_error_s=quality.time_error_s(chosen, whole.times_s),
                )
            )
    return scores, found


def recall_of(scores: Sequence[Score]) -> quality.Recall:
    """Event recall over these scores, one per video."""
    return quality.Recall(
        hit=sum(s.hit for s in scores),
        total=sum(s.total for s in scores),
        per_video=tuple(s.hit / s.total for s in scores),
    )


def by_group(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Group of videos → scores."""
    groups: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.group].append(score)
    return groups
