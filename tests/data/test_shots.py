"""Cuts, dissolves and fades are found; flashes, pans and stillness are none of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.bench import synthetic_clips
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.measure.candidates import Candidates
from data.selection.measure.meter import measure_signals
from data.selection.measure.plan import MeasurementPlan
from data.selection.measure.scenedetect_feed import detector_of
from data.selection.measure.shots import find_changes, shots_from_cuts, transitions
from data.video.h264 import write_h264
from data.video.probe import probe
from data.video.video import Video
from tests.helpers.signals import signals_of
from tests.helpers.videos import every


def texture(seed, length=60):
    rng = np.random.default_rng(seed)
    shown, _, _ = synthetic_clips.segment(length, rng, [], False, "")
    return shown


def shots_of(tmp_path, pictures, times_s=None):
    path = tmp_path / "built.mp4"
    times_s = np.arange(len(pictures)) / 25 if times_s is None else times_s
    write_h264(path, pictures, rate=25, times_s=times_s)
    return transitions(analyse(str(path), FrameKeys(), keep=False).signals, 0.3)


def mixed(a, b, share):
    return np.clip((1 - share) * a + share * b, 0, 255).astype(np.uint8)


def test_a_cut_is_found_at_its_frame(tmp_path):
    (cut,) = shots_of(tmp_path, texture(1) + texture(2))
    assert cut.hard and cut.end_s == pytest.approx(60 / 25)


def test_a_cut_is_found_where_the_frame_rate_varies(tmp_path):
    steps = np.random.default_rng(0).choice([20, 40, 80], 120)
    times_s = (np.cumsum(steps) - steps[0]) / 1000
    (cut,) = shots_of(tmp_path, texture(1) + texture(2), times_s)
    assert cut.end_s == pytest.approx(times_s[60], abs=1e-3)


@pytest.mark.parametrize("length", [6, 15, 28])
def test_a_dissolve_is_found_with_its_extent(tmp_path, length):
    old, new = texture(1, 90), texture(2, 90)
    shares = (np.arange(length) + 1) / (length + 1)
    between = [mixed(a, b, s) for a, b, s in zip(old[60:], new, shares)]
    (found,) = shots_of(tmp_path, old[:60] + between + new[length:])
    assert not found.hard
    assert found.start_s == pytest.approx(59 / 25, abs=0.17)
    assert found.end_s == pytest.approx((60 + length) / 25, abs=0.17)


def test_a_fade_through_black_is_one_transition(tmp_path):
    old, new = texture(1, 90), texture(2, 90)
    black = np.zeros_like(old[0])
    out = [mixed(p, black, (i + 1) / 10) for i, p in enumerate(old[60:70])]
    back = [mixed(black, p, (i + 1) / 10) for i, p in enumerate(new[:10])]
    (found,) = shots_of(tmp_path, old[:60] + out + [black] * 3 + back + new[10:])
    assert not found.hard and found.start_s < 61 / 25 and found.end_s > 80 / 25


def test_flashes_are_no_cuts(tmp_path):
    shown = texture(3, 120)
    for at, length in ((30, 1), (60, 2), (90, 3)):
        for i in range(at, at + length):
            shown[i] = mixed(shown[i], np.full_like(shown[i], 255), 0.8)
    assert shots_of(tmp_path, shown) == []


def test_a_whip_pan_is_no_cut(tmp_path):
    from data.bench.synthetic_videos import _whip

    assert shots_of(tmp_path, _whip(texture(4, 120), 50, 8, np.random.default_rng(0))) == []


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_colour_has_no_shots(tmp_path, level):
    assert shots_of(tmp_path, [np.full((144, 256, 3), level, np.uint8)] * 50) == []


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 300), st.lists(st.integers(1, 299), max_size=30), st.floats(0, 2), st.booleans()
)
def test_changes_are_ordered_and_apart(count, cuts, min_shot_s, black):
    times_s = every(0.04, count)
    cuts_s = sorted({times_s[c] for c in cuts if c < count})
    found = find_changes(signals_of(times_s, cuts_s=cuts_s, black=black), min_shot_s)
    assert all(0 <= c.last < c.first < count for c in found)
    assert all(a.first <= b.last + 1 for a, b in pairwise(found))
    assert all(b.last - a.first >= (min_shot_s - 0.1) / 0.04 - 1.001 for a, b in pairwise(found))
    if black:
        assert found == []


def test_shots_tile_the_video():
    shots = shots_from_cuts(np.asarray(every(0.1, 50)), [0.0, 1.0, 1.0, 4.9])
    assert shots == [(0, 10), (10, 49), (49, 50)]


def cuts_by(path, **options):
    keys = FrameKeys(policy="shots", **options)
    info = probe(str(path))
    return measure_signals(
        info,
        Video(info.path).decode(),
        MeasurementPlan(Candidates("all"), detector=detector_of(keys)),
    ).cuts_s


@pytest.mark.parametrize("detector", ["adaptive", "content", "hash", "histogram"])
def test_pyscenedetects_detectors_find_hard_cuts(tmp_path, detector):
    write_h264(tmp_path / "a.mp4", texture(1) + texture(2), rate=25, times_s=np.arange(120) / 25)
    found = cuts_by(tmp_path / "a.mp4", detector=detector)
    assert min(abs(t - 2.4) for t in found) <= 0.041


def test_the_threshold_detector_finds_a_fade(tmp_path):
    """Two grey levels with black between: one cut, half-way through the black."""
    levels = [120] * 20 + [0] * 20 + [200] * 20
    shown = [np.full((144, 256, 3), level, np.uint8) for level in levels]
    write_h264(tmp_path / "a.mp4", shown, rate=25, times_s=np.arange(60) / 10)
    found = cuts_by(tmp_path / "a.mp4", detector="threshold")
    assert found == pytest.approx((3.0,), abs=0.11)


def test_detector_options_reach_the_detector(tmp_path):
    write_h264(tmp_path / "a.mp4", texture(1) + texture(2), rate=25, times_s=np.arange(120) / 25)
    assert cuts_by(tmp_path / "a.mp4", detector_options={"min_content_val": 250.0}) == ()
    fine = cuts_by(tmp_path / "a.mp4", detector="histogram-fine")
    coarse = cuts_by(tmp_path / "a.mp4", detector="histogram-coarse")
    assert len(fine) >= len(coarse) >= 1


def test_real_hard_cuts(real_clips):
    import json

    rows = map(json.loads, (real_clips / "clips.jsonl").read_text().splitlines())
    for row in rows:
        if row["cuts_s"]:
            signals = analyse(str(real_clips / row["video"]), FrameKeys(), keep=False).signals
            step_s = float(np.median(np.diff(signals.times_s)))
            found = [t.end_s for t in transitions(signals, 0.3) if t.hard]
            for cut in row["cuts_s"]:
                assert min(abs(cut - t) for t in found) <= 1.5 * step_s, row["id"]
