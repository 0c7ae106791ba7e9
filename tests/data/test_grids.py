"""Small frames between the chosen ones: where they lie, what they show, what they cost of the budget."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.media import FrameFiles
from data.regions import Seen
from data.selection.choose import choose_frames
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.grids import WORDS, grids_between, is_whole, side_by_side
from data.selection.measure.meter import measure_signals
from data.selection.outline import outlined
from data.selection.policies.dispatch import plan_for, select
from data.selection.windows import choose_windows
from data.video import h264
from data.video.video import Video
from tests.helpers.videos import rgb_of

FPS, WIDTH, HEIGHT = 10, 160, 128
STILL, MOVING, OTHER = 30, 40, 30
KEYS = FrameKeys(max=5, px=64, fast=4, fast_grid=2)


def block(x):
    """A white block on grey."""
    page = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    page[40:80, x : x + 30] = 255
    return page


@pytest.fixture(scope="module")
def pictures():
    """Three seconds of a still block, four in which another one moves to the right, three of black."""
    still = np.full((HEIGHT, WIDTH, 3), 160, np.uint8)
    still[20:60, 20:60] = 30
    moving = [block(3 * i) for i in range(MOVING)]
    return [*[still] * STILL, *moving, *[np.full_like(still, 40)] * OTHER]


@pytest.fixture(scope="module")
def video(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("grids") / "block.mp4"
    h264.write_h264(path, pictures, rate=FPS)
    return str(path)


def grids_of(found):
    return [i for i, reason in enumerate(found.reasons) if not is_whole(reason)]


def test_they_show_what_moves_and_when(video, pictures):
    found = choose_frames(video, KEYS, threads=1)
    (grid,) = grids_of(found)
    assert found.reasons[grid].startswith(f"4 {WORDS} until ")
    assert STILL / FPS <= found.times_s[grid] < (STILL + MOVING) / FPS
    shown = rgb_of(found.jpegs[grid])
    assert shown.shape == rgb_of(found.jpegs[0]).shape == (64, 80, 3)
    # the block stands farther to the right in each of the four, read row by row
    cells = [shown[y : y + 32, x : x + 40].sum(axis=2) for y in (0, 32) for x in (0, 40)]
    centres = [float((cell > 600).nonzero()[1].mean()) for cell in cells]
    assert centres == sorted(centres) and centres[-1] - centres[0] > 5, centres
    # the first of them is the frame at that time
    first = pictures[round(found.times_s[grid] * FPS)][::4, ::4].sum(axis=2)
    assert np.abs(cells[0] - first).mean() < 30


def test_times_go_on_and_grids_are_dropped_first(video):
    found = choose_frames(video, FrameKeys(max=9, px=64, fast=4, fast_grid=2, tiles=1), threads=1)
    assert list(found.times_s) == sorted(found.times_s)
    assert sorted(found.ranks) == list(range(len(found)))
    wholes = [r for r, why in zip(found.ranks, found.reasons, strict=True) if is_whole(why)]
    assert max(wholes) == len(wholes) - 1
    (grid,) = [i for i in grids_of(found) if WORDS in found.reasons[i]]
    assert found.ranks[grid] == len(wholes)  # before it the quarters go


def test_where_nothing_moves_there_are_none(tmp_path):
    path = tmp_path / "still.mp4"
    h264.write_h264(path, [block(20)] * 60, rate=FPS)
    found = choose_frames(str(path), FrameKeys(max=8, px=64, fast=16, fast_grid=2), threads=1)
    assert not grids_of(found)


def test_a_shot_that_no_frame_shows_is_shown_small(tmp_path):
    """More shots than whole frames: the grids go there, though nothing moves in them."""
    levels = np.random.default_rng(0).integers(0, 255, (6, 4, 5, 3), dtype=np.uint8)
    shots = [np.kron(level, np.ones((32, 32, 1), np.uint8)) for level in levels]
    path = tmp_path / "shots.mp4"
    h264.write_h264(path, [shot for shot in shots for _ in range(15)], rate=FPS)
    found = choose_frames(str(path), FrameKeys(max=6, px=64, fast=16, fast_grid=2), threads=1)
    wholes = {int(t // 1.5) for t, why in zip(found.times_s, found.reasons, strict=True) if is_whole(why)}  # fmt: skip
    small = {int(found.times_s[i] // 1.5) for i in grids_of(found)}
    assert len(wholes) == 2 and small == set(range(6)) - wholes


@pytest.mark.parametrize("change", [{"decoder": "decord"}, {"policy": "uniform"}, {"policy": "fps"}])  # fmt: skip
def test_pictures_that_were_not_kept_are_the_same(video, change):
    """Kept in the decode pass or fetched by a seek."""
    keys = KEYS.model_copy(update=change)
    found = choose_frames(video, keys, threads=1)
    (grid,) = grids_of(found)
    shown = rgb_of(found.jpegs[grid])
    cells = [shown[y : y + 32, x : x + 40].sum(axis=2) for y in (0, 32) for x in (0, 40)]
    centres = [float((cell > 600).nonzero()[1].mean()) for cell in cells]
    assert centres == sorted(centres) and centres[-1] - centres[0] > 5, centres


def test_the_decoder_does_not_change_the_choice(video):
    one, other = (choose_frames(video, KEYS.model_copy(update={"decoder": name}), threads=1) for name in ("pyav", "decord"))  # fmt: skip
    assert (one.times_s, one.reasons) == (other.times_s, other.reasons)


def test_each_window_has_its_own(video):
    keys = KEYS.model_copy(update={"window_s": 4.0})
    windows = list(choose_windows(video, keys, threads=1))
    assert len(windows) > 1
    for one in windows:
        start_s, end_s = one.part_s
        assert len(one) <= 5 and all(start_s <= t < end_s for t in one.times_s)
    assert sum(len(grids_of(one)) for one in windows) >= 1


def test_picture_folders(pictures, tmp_path):
    paths = []
    for i, rgb in enumerate(pictures[STILL : STILL + MOVING : 2]):
        Image.fromarray(rgb).save(tmp_path / f"{i:02d}.png")
        paths.append(str(tmp_path / f"{i:02d}.png"))
    given_files = FrameFiles(tuple(paths), tuple(0.2 * i for i in range(len(paths))))
    found = choose_frames(given_files, KEYS)
    assert len(grids_of(found)) == 1 and len(found) <= 5
    every = choose_frames(given_files, KEYS.model_copy(update={"max": 24}))
    assert not grids_of(every) and len(every) == len(paths)  # all are shown whole


@settings(max_examples=30, deadline=None)
@given(whole=st.integers(1, 8), grids=st.integers(0, 6), side=st.integers(2, 4))
def test_never_more_than_asked(video_signals, whole, grids, side):
    keys = FrameKeys(max=whole + grids, px=64, fast=grids * side**2, fast_grid=side)
    signals = video_signals
    chosen = select(signals, keys.of_whole_frames())
    found = grids_between(signals, chosen, keys)
    assert len(chosen.times_s) <= whole and len(found) <= grids
    assert sorted(one.rank for one in found) == list(range(len(found)))
    known = set(signals.times_s.tolist())
    for one in found:
        assert 1 <= len(one.times_s) <= side**2
        assert list(one.times_s) == sorted(set(one.times_s)) and set(one.times_s) <= known
    starts = [one.times_s[0] for one in found]
    assert starts == sorted(starts)
    shown = [t for one in found for t in one.times_s]
    assert len(shown) == len(set(shown))


@pytest.fixture(scope="module")
def video_signals(video):
    opened = Video(video)
    plan = plan_for(FrameKeys(max=8, px=64), opened.info)
    return measure_signals(opened.info, opened.decode(threads=1), plan)


@given(st.integers(2, 5), st.integers(1, 12), st.integers(1, 12), st.integers(0, 25))
def test_side_by_side_fills_row_by_row(side, height, width, count):
    cells = [np.full((3, 4, 3), n + 1, np.uint8) for n in range(min(count, side**2))]
    whole = side_by_side(cells, side, (height, width))
    assert whole.shape == (max(side, height), max(side, width), 3)
    order = whole[:, :, 0][np.nonzero(whole[:, :, 0])]
    assert set(order.tolist()) == set(range(1, len(cells) + 1))


def test_a_subject_is_outlined_on_whole_frames_only(video):
    keys = FrameKeys(max=9, px=64, fast=4, fast_grid=2, tiles=1, outlined="first")
    found = choose_frames(video, keys, threads=1)
    marked: ChosenFrames = outlined(found, (Seen(0.0, (0.1, 0.1, 0.5, 0.5)), Seen(9.9, (0.1, 0.1, 0.5, 0.5))), keys)  # fmt: skip
    changed = [i for i, (a, b) in enumerate(zip(found.jpegs, marked.jpegs, strict=True)) if a != b]
    assert len(changed) == 1 and is_whole(found.reasons[changed[0]])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"max": 4, "fast": 5, "fast_grid": 2}, "fast=5: small frames come 4 in a picture"),
        ({"max": 4, "fast": 16, "fast_grid": 2}, "max=4: 4 pictures of small frames leave 0 whole frames"),
        ({"max": 8, "fast": 16, "fast_grid": 2, "tiles": 1}, "max=8: 4 quarters and 4 pictures of small"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(keys, said):
    with pytest.raises(ValueError, match=said):
        FrameKeys(**keys)
    keys = FrameKeys(max=8, fast=16, fast_grid=2)
    assert keys.of_whole_frames().max == 4 and keys.least == 5
    assert FrameKeys(max=10, tiles=2).least == 10 and FrameKeys().least == 1
