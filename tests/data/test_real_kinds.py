"""What people's material is like and built videos seldom were: flashes, sweeping cameras, slides, film, few frames a second."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.bench.synthetic_videos import _build_one
from data.selection import quality
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.measure.flashes import flashes
from data.selection.measure.shots import find_cuts, transitions
from data.selection.policies.scene import Step, Stretch, _part, _placed
from tests.helpers.signals import signals_of
from tests.helpers.videos import every

KINDS = ("moving", "low rate", "slides", "crowd", "hand-held", "film")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return {group: _build_one((group, "tune", 0), folder, None) for group in KINDS}


def signals(video):
    return analyse(video.path, FrameKeys(), keep=False, threads=1).signals


@pytest.mark.parametrize("group", KINDS)
def test_cuts_are_found_and_none_is_made_up(built, group):
    video = built[group]
    seen = signals(video)
    step_s = float(np.median(np.diff(seen.times_s)))
    found = quality.match_cuts(transitions(seen, 0.2), video.transitions, tolerance_s=step_s)
    assert found.missed == 0 and found.false == 0, str(found)


@pytest.mark.parametrize("budget", [8, 16, 32])
def test_flashes_of_a_crowd_are_never_chosen(built, budget):
    """They are bright and crisp; what they show, the frames beside them show as well."""
    video = built["crowd"]
    seen = signals(video)
    around = np.array(
        [np.median(seen.luma[max(0, i - 12) : i + 13]) for i in range(len(seen.luma))]
    )
    lit = seen.luma > 1.35 * around + 8
    assert lit.sum() >= 5
    for keys in (
        FrameKeys(max=budget),
        FrameKeys(policy="shots", pick="sharpest", max=budget),
        FrameKeys(policy="topn", max=budget),
    ):
        times_s = analyse(video.path, keys, keep=False, threads=1).selection.times_s
        chosen = [int(np.abs(seen.times_s - t).argmin()) for t in times_s]
        assert not lit[chosen].any(), keys.policy


def test_fades_of_film_are_whole_and_nothing_dim_is_chosen(built):
    """24 frames a second in a faster file: one in five is shown twice."""
    video = built["film"]
    seen = signals(video)
    assert quality.match_gradual(transitions(seen, 0.2), video.transitions).missed == 0
    for budget in (8, 32):
        times_s = analyse(
            video.path, FrameKeys(max=budget), keep=False, threads=1
        ).selection.times_s
        assert quality.share_in_transitions(times_s, video.transitions) == 0


@given(
    where=st.integers(3, 90), length=st.integers(1, 2), light=st.integers(25, 120), drift=st.integers(0, 40)
)  # fmt: skip
def test_what_is_lit_for_a_moment_is_a_flash_and_what_stays_is_not(where, length, light, drift):
    made = signals_of(every(0.04, 100))
    base = np.full((3, 9, 16), 60) + (20 * np.sin(np.arange(16) * np.pi / 8)).astype(int)
    for i in range(100):  # a camera that moves a little
        made.small[i] = np.roll(base, i * drift // 100, axis=2)
    made.small[where : where + length] += np.uint8(light)
    assert np.flatnonzero(flashes(made)).tolist() == list(range(where, where + length))
    made.small[where:] = np.clip(base + light, 0, 255)  # the light goes on
    assert not flashes(made)[where + 2 :].any()


@given(st.floats(0.0, 10), st.lists(st.floats(0.01, 3), max_size=5), st.integers(1, 30))
@example(0.0, [1.0, 1.0, 1.6957399195389011, 1.700308205703595, 1.0], 5)  # sums that round
def test_a_step_is_one_event(length, sizes, count):
    """However large: it fills one part at most, and the parts make up the whole."""
    steps = [Step(i, size) for i, size in enumerate(sizes)]
    part = _part(length, steps, count)
    whole = length + sum(min(size, part) for size in sizes)
    assert part * count == pytest.approx(whole)
    assert part <= (length + sum(sizes)) / count + 1e-9


def test_frames_do_not_crowd_where_a_cut_is_nearly_one():
    made = signals_of(every(0.1, 200))
    made.clearness[:] = 1
    hazard = 0.05 * made.times_s
    span = Stretch(np.arange(0, 200, 2), 0, 199, 12, (Step(100, 0.69),))
    chosen = made.times_s[_placed(made, hazard, span)]
    assert len(chosen) == 12 and ((chosen > 8.5) & (chosen < 11.5)).sum() <= 3
    assert np.diff(chosen).max() < 3


def test_a_line_of_subtitles_is_no_cut():
    """On a still picture little is enough for a slide; it must be all over the picture."""
    made = signals_of(every(0.04, 100))
    made.small[:] = 120
    made.change[:] = 0
    made.small[40:, 0, 7:9, 3:13] = 170  # two rows at the bottom
    made.change[40] = 5
    assert find_cuts(made) == []
    made.small[60:, 0, 1:7, 3:13] = 60
    made.change[60] = 9
    assert [c.first for c in find_cuts(made)] == [60]
