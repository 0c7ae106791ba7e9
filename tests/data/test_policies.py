"""What every policy promises, and what each does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.keys import FrameKeys
from data.sample import Selection
from data.selection.policies import POLICIES, select
from data.selection.shots import detector_for, shots_from_cuts
from data.selection.signals import SHORT_PX, Signals, measure
from data.video import probe, read
from tests.videos import every


def signals_of(times_s, *, cuts_s=(), black=False, duration_s=None) -> Signals:
    times_s = np.asarray(times_s, dtype=np.float64)
    count = len(times_s)
    rng = np.random.default_rng(count)
    return Signals(
        times_s=times_s,
        luma=np.zeros(count) if black else rng.uniform(0, 255, count),
        contrast=np.zeros(count) if black else rng.uniform(0, 60, count),
        sharpness=np.zeros(count) if black else rng.uniform(0, 500, count),
        cuts_s=tuple(cuts_s),
        duration_s=duration_s or float(times_s[-1]) + 0.04,
        num_announced=count,
    )


@st.composite
def any_signals(draw) -> Signals:
    steps = draw(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=200))
    times_s = np.cumsum(steps) - steps[0]
    cuts_s = draw(st.lists(st.sampled_from(times_s.tolist()), max_size=40))
    return signals_of(times_s, cuts_s=sorted(cuts_s), black=draw(st.booleans()))


@settings(max_examples=150, deadline=None)
@given(
    any_signals(),
    st.sampled_from(sorted(POLICIES)),
    st.integers(1, 64),
    st.sampled_from(["first", "middle"]),
)
def test_every_policy_keeps_its_promises(signals, policy, budget, pick):
    keys = FrameKeys(policy=policy, max=budget, pick=pick)
    chosen = select(signals, keys)
    assert 1 <= len(chosen.times_s) <= budget
    assert set(chosen.times_s) <= set(
        signals.times_s.tolist()
    )  # real frames, and by their own time
    assert list(chosen.times_s) == sorted(set(chosen.times_s))
    assert sorted(chosen.ranks) == list(range(len(chosen.ranks)))
    assert all(chosen.reasons)
    assert select(signals, keys) == chosen  # deterministic


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_frames(policy, count):
    chosen = select(signals_of(every(0.04, count)), FrameKeys(policy=policy, max=8))
    assert 1 <= len(chosen.times_s) <= count


def test_five_hundred_shots_in_a_small_budget():
    times_s = every(0.04, 5000)
    signals = signals_of(times_s, cuts_s=times_s[10::10])
    chosen = select(signals, FrameKeys(policy="scene", max=32))
    assert len(chosen.times_s) == 32 and set(chosen.reasons) == {"shot"}


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


def test_scene_shows_every_shot_before_it_fills_gaps():
    cuts_s = [2.0, 2.4, 9.0]
    chosen = select(signals_of(every(0.1, 120), cuts_s=cuts_s), FrameKeys(policy="scene", max=6))
    edges = [0.0, *cuts_s, 12.0]
    for start, end in pairwise(edges):
        inside = [(t, r) for t, r in zip(chosen.times_s, chosen.reasons) if start <= t < end]
        assert any(r == "shot" for _, r in inside)
    assert len(chosen.times_s) == 6
    worst = max(zip(chosen.ranks, chosen.reasons))  # the first to go is no shot's only frame
    assert worst[1] == "gap"


def test_scene_avoids_black_frames_and_shot_edges():
    signals = signals_of(every(0.1, 40), cuts_s=[2.0])
    signals.luma[:12] = 0.0
    chosen = select(signals, FrameKeys(policy="scene", max=2))
    assert 1.2 <= chosen.times_s[0] <= 1.5 and 2.4 <= chosen.times_s[1] <= 3.6


def test_scene_does_not_fill_the_budget_with_copies():
    chosen = select(signals_of(every(0.1, 20)), FrameKeys(policy="scene", max=64))
    assert min(np.diff(chosen.times_s)) >= 0.5 - 0.11


def test_shots_tile_the_video():
    shots = shots_from_cuts(np.asarray(every(0.1, 50)), [0.0, 1.0, 1.0, 4.9])
    assert shots == [(0, 10), (10, 49), (49, 50)]


@pytest.mark.parametrize("detector", ["adaptive", "content", "hash", "histogram"])
def test_detectors_find_the_hard_cuts_of_a_real_clip(real_clips, detector):
    keys = FrameKeys(policy="shots", detector=detector)
    info = probe(str(real_clips / "bikes.mp4"))
    found = measure(info, read(info, short_px=SHORT_PX), detector_for(keys)).cuts_s
    for cut in (1.2, 5.48, 7.48):
        assert min(abs(cut - f) for f in found) <= 0.041


def test_threshold_detector_finds_a_fade(tmp_path):
    """Two grey levels with black between: one cut, half-way through the black."""
    from data.video import Frame

    class Info:
        path, times_s, duration_s, num_announced = "fade", np.asarray(every(0.1, 60)), 6.0, 60

    levels = [120] * 20 + [0] * 20 + [200] * 20
    frames = (Frame(i / 10, np.full((9, 16, 3), level, np.uint8)) for i, level in enumerate(levels))
    keys = FrameKeys(policy="shots", detector="threshold")
    assert measure(Info, frames, detector_for(keys)).cuts_s == pytest.approx((3.0,), abs=0.11)


def test_selection_refuses_nonsense():
    with pytest.raises(ValueError, match="increasing"):
        Selection((1.0, 1.0), ("a", "b"), (0, 1), 2.0)
    with pytest.raises(ValueError, match="permutation"):
        Selection((1.0, 2.0), ("a", "b"), (1, 1), 3.0)
