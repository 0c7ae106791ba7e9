"""What every policy promises, and what each does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.policies.dispatch import select
from tests.helpers.random_selector import needs
from tests.helpers.signals import signals_of
from tests.helpers.videos import every

EVERY_WAY = [
    (policy, method)
    for policy in sorted(POLICIES)
    for method in POLICIES[policy].methods or (None,)
]


def keys_of(policy, method=None, **options):
    """Keys that need no model: features are in the signals already."""
    encoder = "none" if policy in ("embedding", "query") else None
    query = "a dog" if policy == "query" else None
    return FrameKeys(
        policy=policy, method=method, encoder=encoder, query=query, **needs(policy), **options
    )


@st.composite
def any_signals(draw):
    steps = draw(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=200))
    times_s = np.cumsum(steps) - steps[0]
    cuts_s = draw(st.lists(st.sampled_from(times_s.tolist()), max_size=40, unique=True))
    return signals_of(
        times_s,
        cuts_s=sorted(cuts_s),
        black=draw(st.booleans()),
        still=draw(st.booleans()),
        candidate_every=draw(st.integers(1, 7)),
    )


@settings(max_examples=300, deadline=None)
@given(
    any_signals(),
    st.sampled_from(EVERY_WAY),
    st.integers(1, 64),
    st.sampled_from(["first", "middle", "sharpest"]),
)
def test_every_policy_keeps_its_promises(signals, way, budget, pick):
    keys = keys_of(*way, max=budget, pick=pick)
    chosen = select(signals, keys)
    assert 1 <= len(chosen.times_s) <= budget
    assert set(chosen.times_s) <= set(signals.times_s.tolist())  # real frames, by their own time
    assert list(chosen.times_s) == sorted(set(chosen.times_s))
    assert sorted(chosen.ranks) == list(range(len(chosen.ranks)))
    assert all(chosen.reasons)
    assert select(signals, keys) == chosen  # deterministic


@pytest.mark.parametrize(("policy", "method"), EVERY_WAY)
@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_frames(policy, method, count):
    chosen = select(signals_of(every(0.04, count)), keys_of(policy, method, max=8))
    assert 1 <= len(chosen.times_s) <= count


def test_five_hundred_shots_in_a_small_budget():
    times_s = every(0.04, 5000)
    signals = signals_of(times_s, cuts_s=times_s[10::10])
    chosen = select(signals, FrameKeys(policy="scene", max=32))
    assert len(chosen.times_s) == 32 and set(chosen.reasons) == {"shot"}
    assert max(np.diff(chosen.times_s)) < 3 * 200 / 32  # not all from one end


def test_uniform_takes_the_middles_of_equal_spans():
    chosen = select(
        signals_of(every(0.1, 101), duration_s=10.0), FrameKeys(policy="uniform", max=4)
    )
    assert chosen.times_s == pytest.approx((1.2, 3.7, 6.2, 8.7), abs=0.06)


def test_fps_is_a_rate_until_the_budget_caps_it():
    signals = signals_of(every(0.1, 100), duration_s=10.0)
    assert len(select(signals, FrameKeys(policy="fps", fps=0.5, max=64)).times_s) == 5
    assert len(select(signals, FrameKeys(policy="fps", fps=5, max=8)).times_s) == 8


@pytest.mark.parametrize("budget", [4, 8, 64])
@pytest.mark.parametrize("count", [1, 7, 75, 300, 2500])
@pytest.mark.parametrize("rate", [10, 24, 29.97])
def test_smolvlm_is_what_transformers_samples(processor, rate, count, budget):
    from transformers.video_utils import VideoMetadata

    times_s = every(1 / rate, count)
    signals = signals_of(times_s, duration_s=count / rate)
    metadata = VideoMetadata(total_num_frames=count, fps=rate, duration=count / rate)
    theirs = processor.video_processor.sample_frames(metadata, num_frames=budget, fps=1)
    ours = select(signals, FrameKeys(policy="smolvlm", max=budget))
    assert ours.times_s == pytest.approx([times_s[i] for i in theirs])


# --- scene -------------------------------------------------------------------------------------


def test_scene_shows_every_shot_before_any_shot_twice():
    cuts_s = [2.0, 2.4, 9.0]
    chosen = select(signals_of(every(0.1, 120), cuts_s=cuts_s), FrameKeys(policy="scene", max=6))
    for start, end in pairwise([0.0, *cuts_s, 12.0]):
        inside = [(t, r) for t, r in zip(chosen.times_s, chosen.reasons) if start <= t < end]
        assert [r for _, r in inside].count("shot") == 1
    worst = max(zip(chosen.ranks, chosen.reasons))  # the first to go is no shot's only frame
    assert worst[1] == "within shot"


def test_scene_avoids_black_frames_and_shot_edges():
    signals = signals_of(every(0.1, 60), cuts_s=[1.2, 4.0])
    for array in (signals.small, signals.luma, signals.contrast):
        array[:12] = 0
    chosen = select(signals, FrameKeys(policy="scene", max=2))
    assert 1.4 <= chosen.times_s[0] <= 3.6 and 4.2 <= chosen.times_s[1] <= 5.8


def test_scene_gives_a_still_video_few_frames():
    signals = signals_of(every(0.1, 600), still=True)
    chosen = select(signals, FrameKeys(policy="scene", max=64))
    assert len(chosen.times_s) <= 7  # one in max_gap_s
    moving = select(signals_of(every(0.1, 600)), FrameKeys(policy="scene", max=64))
    assert len(moving.times_s) == 64 and max(np.diff(moving.times_s)) < 2


def test_scene_spreads_evenly_where_nothing_is_cut():
    chosen = select(signals_of(every(0.1, 400)), FrameKeys(policy="scene", max=8))
    assert max(np.diff([0.0, *chosen.times_s, 40.0])) < 8.0
    assert 1.0 < chosen.times_s[0] < 4.5  # not at the very ends


def test_scene_sees_every_short_shot_though_candidates_are_rare():
    cuts_s = [3.0, 3.5, 7.0]
    signals = signals_of(every(0.1, 100), cuts_s=cuts_s, candidate_every=9)
    chosen = select(signals, FrameKeys(policy="scene", max=4))
    assert [int(np.searchsorted(cuts_s, t, side="right")) for t in chosen.times_s] == [0, 1, 2, 3]


# --- the others --------------------------------------------------------------------------------


def test_shots_picks_first_middle_or_sharpest():
    signals = signals_of(every(0.1, 40), cuts_s=[2.0])
    signals.clearness[:] = 1
    signals.clearness[[7, 33]] = 9
    picked = {
        pick: select(signals, FrameKeys(policy="shots", max=4, pick=pick)).times_s
        for pick in ("first", "middle", "sharpest")
    }
    assert picked["first"] == pytest.approx((0.0, 2.0))
    assert picked["middle"] == pytest.approx((0.9, 2.9))
    assert picked["sharpest"] == pytest.approx((0.7, 3.3))


@pytest.mark.parametrize("policy", ["l1", "l2", "correlation"])
def test_pixel_policies_keep_what_differs_from_the_last_kept(policy):
    cuts_s = [1.0, 2.5, 4.0]
    chosen = select(signals_of(every(0.1, 60), cuts_s=cuts_s), FrameKeys(policy=policy, max=8))
    assert chosen.times_s == pytest.approx((0.0, *cuts_s))


def test_keyframes_are_the_codecs():
    signals = signals_of(every(0.1, 60), cuts_s=[1.0, 2.5])
    assert select(signals, FrameKeys(policy="keyframes", max=8)).times_s == (0.0, 1.0, 2.5)
    assert len(select(signals, FrameKeys(policy="keyframes", max=2)).times_s) == 2


def test_kts_finds_the_changes():
    signals = signals_of(every(0.1, 90), cuts_s=[3.0, 6.0])
    chosen = select(signals, FrameKeys(policy="kts", max=8))
    assert chosen.times_s == pytest.approx((1.4, 4.4, 7.4), abs=0.11)


def test_motion_goes_where_the_movement_is():
    signals = signals_of(every(0.1, 100))
    signals.motion[:] = 0.0
    signals.motion[60:] = 1.0
    chosen = select(signals, keys_of("motion", "vectors", max=10))
    assert sum(t >= 6.0 for t in chosen.times_s) >= 9


def test_topn_takes_the_best_wherever_they_are():
    signals = signals_of(every(0.1, 100))
    signals.change[:], signals.clearness[:] = 0.0, 1.0
    signals.change[40:44], signals.clearness[40:44] = 9.0, 9.0
    chosen = select(signals, FrameKeys(policy="topn", max=4))
    assert all(3.5 < t < 4.9 for t in chosen.times_s)


def test_selection_refuses_nonsense():
    with pytest.raises(ValueError, match="increasing"):
        Selection((1.0, 1.0), ("a", "b"), (0, 1), 2.0)
    with pytest.raises(ValueError, match="permutation"):
        Selection((1.0, 2.0), ("a", "b"), (1, 1), 3.0)
