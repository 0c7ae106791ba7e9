"""The measures of selection, on cases worked out by hand."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.bench.shot_scores import boundary_probability, even_candidates
from data.selection.measure.shots import Transition
from data.selection.policies.allocate import allocate
from data.selection.quality import (
    Recall,
    events_hit,
    match_cuts,
    match_gradual,
    match_places,
    nearest_distance,
    redundancy,
    share_in_transitions,
    share_unclear,
    time_error_s,
)


def cut(time_s):
    return Transition(time_s - 0.04, time_s, hard=True)


def gradual(start_s, end_s):
    return Transition(start_s, end_s, hard=False)


def test_recall_counts_events_with_a_frame():
    events = [(0.0, 1.0), (1.0, 2.0), (5.0, 6.0)]
    assert events_hit([0.5, 1.0, 6.0], events) == 2  # the end belongs to what follows
    found = Recall(3, 4, per_video=(2 / 3, 1.0))
    assert found.micro == 0.75 and found.macro == pytest.approx((2 / 3 + 1) / 2)
    assert found.fully_covered == 0.5


def test_each_cut_is_matched_once_and_by_the_nearest():
    labelled = [cut(1.0), cut(2.0)]
    found = match_cuts([cut(0.99), cut(1.03), cut(7.0)], labelled, tolerance_s=0.04)
    assert (found.matched, found.missed, found.false) == (1, 1, 2)
    assert found.f1 == pytest.approx(2 / (2 + 1 + 2))
    assert match_cuts([], [], tolerance_s=0.04).f1 == 1.0


def test_a_second_prediction_inside_a_dissolve_is_false():
    labelled = [gradual(1.0, 2.0), gradual(5.0, 6.0)]
    found = match_gradual([gradual(1.1, 1.4), gradual(1.5, 1.9), cut(5.5)], labelled)
    assert (found.matched, found.missed, found.false) == (1, 1, 1)


def test_places_are_matched_whatever_kind_is_predicted():
    labelled = [cut(1.0), gradual(5.0, 6.0), gradual(8.0, 9.0), cut(12.0)]
    predicted = [gradual(0.9, 1.1), cut(5.2), cut(5.8), cut(3.0), gradual(14.0, 15.0), cut(12.03)]
    cuts, slow = match_places(predicted, labelled, tolerance_s=0.05)
    assert (cuts.matched, cuts.missed, cuts.false) == (2, 0, 1)
    assert (slow.matched, slow.missed, slow.false) == (1, 1, 2)
    assert all(m.f1 == 1 for m in match_places(labelled, labelled, tolerance_s=0.05))


def test_distance_and_redundancy():
    features = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0]])
    mean, largest = nearest_distance(features, [0, 2])
    assert mean == pytest.approx(2 / 3 / np.sqrt(2)) and largest == pytest.approx(np.sqrt(2))
    twice = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert redundancy(twice, [0, 1, 2]) == pytest.approx((1 + 1 - 1) / 3)
    assert redundancy(twice, [1]) == 0.0


def test_shares_and_time_error():
    assert share_in_transitions([1.0, 1.5, 3.0], [gradual(1.0, 2.0)]) == pytest.approx(1 / 3)
    luma, contrast = np.full(40, 100.0), np.full(40, 50.0)
    sharpness = np.full(40, 10.0)
    luma[3], sharpness[20] = 0.0, 2.0
    assert share_unclear(luma, contrast, sharpness, [3, 20, 30]) == pytest.approx(2 / 3)
    assert time_error_s([0.04, 0.1], np.array([0.0, 0.04, 0.08])) == pytest.approx(0.02)


# --- allocation ---------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 10**6))
def test_allocation_keeps_its_promises(count, budget, seed):
    rng = np.random.default_rng(seed)
    probability = np.where(rng.random(count) < 0.1, rng.random(count), 0.0)
    times_s = np.cumsum(rng.uniform(0.01, 0.2, count))
    frames = even_candidates(probability, times_s, budget)
    assert frames[0] >= 0 and frames[-1] < count and np.all(np.diff(frames) > 0)
    chosen, ranks = allocate(probability, times_s, frames, budget)
    assert 1 <= len(chosen) == min(budget, len(frames)) and np.all(np.diff(chosen) > 0)
    assert set(chosen) <= set(frames) and sorted(ranks) == list(range(len(chosen)))


def test_allocation_is_the_best_there_is():
    """Against every choice of three frames, by the expectation written down directly."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        p = np.where(rng.random(14) < 0.4, rng.random(14), 0.0)
        p[-1] = 0.0  # nothing ends with the last frame
        times_s = np.arange(14) * 10.0  # far apart: every frame is clear of every boundary
        flat = np.zeros(14)
        chosen, _ = allocate(p, times_s, np.arange(14), 3, background=flat)

        def expected(frames, p=p):
            gaps = (np.prod(1 - p[a:b]) for a, b in pairwise(frames))
            return sum(1 - gap for gap in gaps)

        best = max(expected(c) for c in combinations(range(14), 3))
        assert expected(tuple(chosen)) >= best - 0.02  # evenness may decide among near equals


def test_certain_cuts_get_a_frame_each():
    probability = np.zeros(100)
    probability[[9, 49, 59]] = 1.0
    times_s = np.arange(100) / 25
    chosen, _ = allocate(probability, times_s, even_candidates(probability, times_s, 4), 4)
    assert np.searchsorted([9, 49, 59], chosen).tolist() == [0, 1, 2, 3]


def test_one_peak_is_one_boundary():
    score = np.zeros(50)
    score[20:23] = 0.3, 0.9, 0.3
    score[-1] = 1.0  # nothing follows the last frame
    probability = boundary_probability(score, np.arange(50) / 25)
    assert np.flatnonzero(probability > 0.5).tolist() == [21]
