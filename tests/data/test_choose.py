"""One pass over a video: what is kept, at which speed, by which decoder."""

import io

import numpy as np
import pytest
from PIL import Image

from data.selection import choose
from data.selection.choose import analyse, choose_frames, chosen_pictures
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.measure.candidates import Candidates
from data.video.info import BadVideo
from data.video.video import Video
from tests.helpers.random_selector import needs
from tests.helpers.videos import HEIGHT, every, number_of, write_audio, write_video

PLAIN = sorted(set(POLICIES) - {"embedding", "query"})


def numbers(chosen):
    return [number_of(np.asarray(Image.open(io.BytesIO(jpeg)))) for jpeg in chosen.jpegs]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """120 numbered frames at 10 a second, a key frame at every twelfth."""
    return str(write_video(tmp_path_factory.mktemp("choose") / "a.mp4", every(0.1, 120)))


@pytest.mark.parametrize("speed", ["exact", "fast", "keyframes"])
@pytest.mark.parametrize("policy", PLAIN)
def test_the_picture_at_t_was_drawn_at_t(video, policy, speed):
    chosen = choose_frames(video, FrameKeys(policy=policy, **needs(policy), speed=speed, max=9))
    assert 1 <= len(chosen.times_s) <= 9
    assert numbers(chosen) == [round(t / 0.1) for t in chosen.times_s]
    assert set(np.round(chosen.times_s, 3)) <= set(np.round(every(0.1, 120), 3))


@pytest.mark.parametrize("policy", PLAIN)
def test_threads_change_nothing(video, policy):
    keys = FrameKeys(policy=policy, **needs(policy), max=9)
    first = choose_frames(video, keys, threads=1)
    assert choose_frames(video, keys, threads=2) == first == choose_frames(video, keys, threads=1)


@pytest.mark.parametrize("policy", PLAIN)
def test_decoders_choose_the_same(video, policy):
    ours, theirs = (
        choose_frames(video, FrameKeys(policy=policy, **needs(policy), max=9, decoder=d))
        for d in ("pyav", "decord")
    )
    assert ours.times_s == theirs.times_s and numbers(ours) == numbers(theirs)


def test_decoders_choose_the_same_on_real_clips(real_clips):
    for name in ("bikes.mp4", "elephants_dream_vfr.mp4", "nasa.mp4", "rotated.mp4"):
        path = str(real_clips / name)
        ours, theirs = (
            choose_frames(path, FrameKeys(max=8, decoder=d)) for d in ("pyav", "decord")
        )
        assert ours.times_s == theirs.times_s, name
        for a, b in zip(ours.jpegs, theirs.jpegs, strict=True):
            first, second = (np.asarray(Image.open(io.BytesIO(x))).astype(int) for x in (a, b))
            assert first.shape == second.shape and np.abs(first - second).mean() < 6, name


def test_what_memory_does_not_hold_is_fetched(video, monkeypatch):
    keys = FrameKeys(max=12)
    whole = analyse(video, keys)
    limited = Candidates("clearest", window_s=0.3, keep_px=keys.px, limit_bytes=200_000)
    for i, frame in enumerate(Video(whole.info.path).decode()):
        limited.update(i, frame, 1.0, fresh=False)
    assert 0 < sum(k.num_bytes for k in limited.kept.values()) <= 200_000
    assert len(limited.kept) < len(limited.indices)
    poor = choose.Analysis(whole.source, whole.info, whole.signals, whole.selection, kept={})
    for a, b in zip(chosen_pictures(whole, keys), chosen_pictures(poor, keys), strict=True):
        assert np.array_equal(a, b)


def test_candidates_are_the_clearest_of_their_windows(video):
    candidates = Candidates("clearest", window_s=1.0)
    settled = []
    for i, frame in enumerate(Video(video).decode()):
        settled.append(candidates.update(i, frame, clearness=float(i % 7), fresh=i == 35))
    settled.append(candidates.close())
    assert [s[0] for s in settled if s] == candidates.indices.tolist()
    assert candidates.indices.tolist()[:5] == [
        6,
        13,
        20,
        34,
        41,
    ]  # the fourth window ends at 35, the next begins there


def test_keyframes_speed_decodes_key_frames_only(video):
    looked = analyse(video, FrameKeys(speed="keyframes", max=64))
    assert looked.signals.sparse and looked.signals.key.all()
    keys_s = looked.info.key_times_s
    assert len(looked.signals.times_s) == len(keys_s)
    for t in looked.selection.times_s:  # moved on from its key frame by less than 0.4 s
        assert min(t - k for k in keys_s if k <= t + 1e-6) < 0.4


def test_fast_leaves_frames_out_and_finds_the_file_whole(video):
    looked = analyse(video, FrameKeys(speed="fast", max=8))
    assert len(looked.signals.times_s) < 120 and looked.signals.decoded_share == 1.0


@pytest.mark.parametrize("speed", ["exact", "fast", "keyframes"])
def test_damage_is_seen_at_every_speed(tmp_path, speed):
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "cut.mp4", every(0.1, 100), container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadVideo) as caught:
        analyse(str(path), FrameKeys(speed=speed))
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize("speed", ["exact", "fast", "keyframes"])
def test_an_edit_list_is_no_damage(tmp_path, speed):
    path = write_video(tmp_path / "edited.mp4", every(0.1, 60), start_s=-2.0)
    looked = analyse(str(path), FrameKeys(speed=speed, max=4))
    assert looked.signals.decoded_share == 1.0 and looked.selection.times_s[0] >= 0


def test_motion_vectors_are_refused_where_there_are_none(tmp_path):
    path = write_video(tmp_path / "a.webm", every(0.1, 20), codec="libvpx-vp9")
    with pytest.raises(BadVideo, match="no motion vectors"):
        analyse(str(path), FrameKeys(policy="motion", method="vectors"))


@pytest.mark.parametrize("policy", PLAIN)
@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_videos(tmp_path, policy, count):
    path = write_video(tmp_path / "short.mp4", every(0.1, count))
    chosen = choose_frames(str(path), FrameKeys(policy=policy, **needs(policy), max=8))
    assert 1 <= len(chosen.times_s) <= count


@pytest.mark.parametrize("codec", ["ffv1", "libvpx-vp9", "mpeg4"])
@pytest.mark.parametrize("size", [(161, 97), (16, 16), (64, 400)])
def test_odd_sizes_and_formats(tmp_path, codec, size):
    path = write_video(tmp_path / "odd.mkv", every(0.1, 15), codec=codec, size=size)
    chosen = choose_frames(str(path), FrameKeys(max=4, px=64))
    with Image.open(io.BytesIO(chosen.jpegs[0])) as picture:
        assert picture.size[0] / picture.size[1] == pytest.approx(size[0] / size[1], rel=0.1)
        assert min(picture.size) <= 64


def test_rotated_pictures_are_kept_upright(tmp_path):
    path = write_video(tmp_path / "turned.mp4", every(0.1, 20), turn=1)
    chosen = choose_frames(str(path), FrameKeys(max=3))
    assert numbers(chosen) == [round(t / 0.1) for t in chosen.times_s]
    with Image.open(io.BytesIO(chosen.jpegs[0])) as picture:
        assert picture.height == HEIGHT


def test_bad_files_travel_between_processes(tmp_path):
    import pickle

    with pytest.raises(BadVideo) as caught:
        analyse(str(write_audio(tmp_path / "sound.mp4")), FrameKeys())
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.reason == "no video stream" and str(again) == str(caught.value)
