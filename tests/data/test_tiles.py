"""Quarters of the sharpest frames: where they lie, what they show, what they cost of the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.media import FrameFiles
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.selection.tiles import QUARTERS, quarters, sharpest
from data.selection.windows import choose_windows
from data.video import h264
from tests.helpers.videos import rgb_of

FPS, SIDE = 10, 128


def sign(width=160, height=SIDE):
    """A page of fine lines, a lighter one in each quarter."""
    page = np.full((height, width, 3), 255, np.uint8)
    page[: height // 2] -= 100
    page[:, : width // 2] -= 50
    page[:, ::4] = 0
    return page


@pytest.fixture(scope="module")
def slides():
    """Three seconds of grey, two of the page, three of dark grey."""
    plain = [np.full((SIDE, 160, 3), level, np.uint8) for level in (150, 60)]
    return [*[plain[0]] * 30, *[sign()] * 20, *[plain[1]] * 30]


@pytest.fixture(scope="module")
def video(slides, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiles") / "slides.mp4"
    h264.write_h264(path, slides, rate=FPS)
    return str(path)


@given(st.integers(1, 9), st.integers(1, 9))
def test_quarters_are_all_of_a_picture(height, width):
    whole = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    parts = quarters(whole)
    assert len(parts) == len(QUARTERS) and all(part.size for part in parts)
    if height > 1 and width > 1:
        rows = [np.concatenate(parts[:2], axis=1), np.concatenate(parts[2:], axis=1)]
        assert np.array_equal(np.concatenate(rows), whole)


def test_the_page_of_fine_lines_is_the_sharpest():
    grey = np.full((SIDE, 160, 3), 90, np.uint8)
    assert sharpest([grey, sign(), grey], 2) == [1, 0]
    assert sharpest([grey, sign()], 0) == []


def test_the_sharpest_frame_is_followed_by_its_quarters(video):
    keys = FrameKeys(max=8, px=64, tiles=1)
    found = choose_frames(video, keys, threads=1)
    assert len(found) <= 8
    first = found.reasons.index(QUARTERS[0])
    assert found.reasons[first : first + 4] == QUARTERS
    assert 3 <= found.times_s[first] < 5 and len(set(found.times_s[first - 1 : first + 4])) == 1
    # each quarter has the size of a whole frame, and twice its detail
    whole, parts = rgb_of(found.jpegs[first - 1]), [rgb_of(j) for j in found.jpegs[first:][:4]]
    assert whole.shape == parts[0].shape == (64, 80, 3)
    for part, (row, column) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        original = sign()[row * 64 :, column * 80 :][:64, :80].astype(int)
        assert np.abs(part - original).mean() < 12
    # they are the first to go where a prompt must become shorter
    assert sorted(found.ranks) == list(range(len(found)))
    assert min(found.ranks[first : first + 4]) == len(found) - 4


def test_the_other_frames_are_those_of_a_smaller_budget(video):
    tiled = choose_frames(video, FrameKeys(max=8, px=64, tiles=1), threads=1)
    few = choose_frames(video, FrameKeys(max=4, px=64), threads=1)
    kept = [i for i, reason in enumerate(tiled.reasons) if reason not in QUARTERS]
    assert tuple(tiled.jpegs[i] for i in kept) == few.jpegs
    assert tuple(tiled.times_s[i] for i in kept) == few.times_s


@pytest.mark.parametrize("more", [{"decoder": "decord"}, {"speed": "keyframes"}, {"policy": "fps"}])
def test_any_decoder_and_policy(video, more):
    found = choose_frames(video, FrameKeys(max=8, px=64, tiles=1, **more), threads=1)
    assert found.reasons.count(QUARTERS[0]) == 1


def test_frames_that_are_given_as_files(slides, tmp_path):
    paths = []
    for i in range(0, len(slides), 20):
        Image.fromarray(slides[i]).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    given_files = FrameFiles(tuple(paths), tuple(map(float, range(len(paths)))))
    found = choose_frames(given_files, FrameKeys(max=8, px=64, tiles=1))
    assert len(found) == 4 + 4
    assert rgb_of(found.jpegs[found.reasons.index(QUARTERS[3])]).shape == (64, 80, 3)


def test_each_window_has_its_own(video):
    windows = list(choose_windows(video, FrameKeys(max=5, px=64, tiles=1, window_s=4), threads=1))
    assert len(windows) > 1
    assert all(len(one) == 5 and one.reasons[1:] == QUARTERS for one in windows)


def test_a_budget_too_small_for_them_is_refused():
    with pytest.raises(ValueError, match="max=9: 8 quarters leave 1 whole frames, and 2 must"):
        FrameKeys(max=9, tiles=2)
    assert FrameKeys(max=10, tiles=2).of_whole_frames() == FrameKeys(max=2)
