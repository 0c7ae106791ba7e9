"""The frame at time t is the frame that was drawn at t, whatever the file does with time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.video.info import BadVideo
from data.video.probe import probe
from data.video.video import Video
from tests.helpers.videos import HEIGHT, WIDTH, every, number_of, pictures, write_audio, write_video

UNEVEN = [0.0, 0.04, 0.5, 0.533, 1.9, 2.0, 2.01, 3.25, 3.3, 4.0, 4.7, 4.71, 6.0, 6.1, 7.5, 7.9]
DECODERS = ["pyav", "decord"]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("name", "times_s", "options"),
    [
        ("constant.mp4", every(1 / 25, 60), {}),
        ("one_group.mp4", every(1 / 25, 60), {"gop": 250}),
        ("uneven.mp4", UNEVEN, {}),
        ("uneven.mkv", UNEVEN, {}),
        ("later.mkv", every(0.1, 20), {"start_s": 5.0}),
        ("later.ts", every(0.1, 20), {"start_s": 5.0}),
        ("two_streams.mp4", every(0.1, 20), {"second_stream": True}),
        ("single.mp4", [0.0], {}),
        ("odd.mkv", every(0.1, 20), {"codec": "ffv1", "size": (161, 97)}),
        ("vp9.webm", every(0.1, 20), {"codec": "libvpx-vp9"}),
        ("unicode ünï çød 视频.mp4", every(0.1, 5), {}),
    ],
)
def test_frame_at_t_was_drawn_at_t(tmp_path, decoder, name, times_s, options):
    info = probe(str(write_video(tmp_path / name, times_s, **options)))
    assert np.allclose(info.times_s, times_s, atol=2e-3)
    if decoder == "decord" and name.endswith(".ts"):
        with pytest.raises(BadVideo, match="pyav"):  # it would give wrong frames without a word
            pictures(info, HEIGHT, decoder)
        return
    frames = pictures(info, HEIGHT, decoder)
    assert [number_of(f.rgb) for f in frames] == list(range(len(times_s)))
    assert np.allclose([f.time_s for f in frames], times_s, atol=2e-3)

    wanted = [0, *range(3, len(times_s), 4)]
    kept = Video(info.path).frames_played_at(
        [frames[i].time_s for i in wanted if i < len(frames)],
        short_px=HEIGHT,
        decoder=decoder,
    )
    assert [number_of(f.rgb) for f in kept] == [i for i in wanted if i < len(frames)]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_rotation_is_applied(tmp_path, decoder, turn):
    info = probe(str(write_video(tmp_path / "turned.mp4", every(0.1, 12), turn=turn)))
    assert (info.width_px, info.height_px) == (WIDTH, HEIGHT)
    frames = pictures(info, HEIGHT, decoder)
    assert [number_of(f.rgb) for f in frames] == list(range(12))
    kept = Video(info.path).frames_played_at([frames[7].time_s], short_px=48, decoder=decoder)
    assert kept[0].rgb.shape == (48, 80, 3) and number_of(kept[0].rgb) == 7


def announced_and_decoded(path):
    info = probe(str(path))
    return info.num_announced, len(pictures(info, 48))


def test_whole_files_announce_what_they_give(tmp_path):
    """An edit list that cuts the start, a late start, sound that goes on longer: none is damage."""
    cut = write_video(tmp_path / "edited.mp4", every(0.1, 60), start_s=-2.0)
    late = write_video(tmp_path / "late.mkv", every(0.1, 60), start_s=100.0)
    talk = write_video(tmp_path / "talk.mkv", every(0.1, 20), sound_s=6.0)
    for path in (cut, late, talk):
        announced, decoded = announced_and_decoded(path)
        assert announced == decoded >= 20, path.name


@pytest.mark.parametrize("name", ["old.wmv", "old.avi", "old.mpg", "old.flv"])
def test_containers_that_seek_badly_are_still_exact(tmp_path, name):
    codec = {"wmv": "wmv2", "avi": "mpeg4", "mpg": "mpeg2video", "flv": "flv1"}[name[-3:]]
    info = probe(str(write_video(tmp_path / name, every(0.1, 80), codec=codec, rate=10)))
    frames = pictures(info, HEIGHT)
    wanted = frames[::9]
    kept = Video(info.path).frames_played_at([f.time_s for f in wanted], short_px=HEIGHT)
    assert [number_of(f.rgb) for f in kept] == [number_of(f.rgb) for f in wanted]
    numbers = [number_of(f.rgb) for f in frames]
    assert len(numbers) >= 79
    assert numbers == [round(f.time_s / 0.1) for f in frames]


def test_missing_duration_is_found_from_the_packets(tmp_path):
    options = {"live": "1"}  # a live recording: no duration, no index
    path = write_video(
        tmp_path / "live.webm", every(0.1, 20), codec="libvpx-vp9", container_options=options
    )
    info = probe(str(path))
    assert info.duration_s == pytest.approx(2.0, abs=0.11)
    assert [number_of(f.rgb) for f in pictures(info, HEIGHT)] == list(range(20))


def test_frames_are_never_enlarged(tmp_path):
    info = probe(str(write_video(tmp_path / "small.mp4", every(0.1, 3))))
    assert next(Video(info.path).decode()).rgb(4000).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.slow
def test_decoders_agree(real_clips):
    for name in (
        "nasa.mp4",
        "elephants_dream_vfr.mp4",
        "rotated.mp4",
        "bbb_30s_vp8.webm",
        "av1.mp4",  # and not hevc_10bit.mp4: HDR is refused by decord's way
    ):
        info = probe(str(real_clips / name))
        ours, theirs = (pictures(info, 64, d) for d in DECODERS)
        assert len(ours) == len(theirs) == len(info.times_s), name
        assert np.allclose([f.time_s for f in ours], [f.time_s for f in theirs], atol=1e-3), name
        times_s = [f.time_s for f in ours[::20]]
        ours, theirs = (
            Video(info.path).frames_played_at(times_s, short_px=64, decoder=d) for d in DECODERS
        )
        for a, b in zip(ours, theirs, strict=True):
            assert a.rgb.shape == b.rgb.shape
            assert np.abs(a.rgb.astype(int) - b.rgb).mean() < 5, name


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp4", b"", "unreadable"),
        ("text.mp4", b"this is not a video\n" * 50, "unreadable"),
        ("page.mp4", b"<!doctype html><html><body>404</body></html>", "unreadable"),
    ],
)
def test_files_that_are_no_video(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadVideo) as caught:
        probe(str(tmp_path / name))
    assert caught.value.reason == reason


def test_missing_file_folder_and_sound_only(tmp_path):
    for path, reason in (
        (tmp_path / "nowhere.mp4", "missing file"),
        (tmp_path, "missing file"),
        (tmp_path / ("x" * 300), "missing file"),
        (write_audio(tmp_path / "sound.mp4"), "no video stream"),
    ):
        with pytest.raises(BadVideo) as caught:
            probe(str(path))
        assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.webm"])
def test_a_cut_off_file_announces_more_than_it_gives(tmp_path, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write_video(tmp_path / name, every(0.1, 100), codec=codec, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    info = probe(str(path))
    decoded = len(pictures(info, 48))
    assert 0 < decoded < 0.9 * info.num_announced


def test_header_without_body(tmp_path):
    path = write_video(
        tmp_path / "head.mp4", every(0.1, 50), container_options={"movflags": "faststart"}
    )
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + 4])
    with pytest.raises(BadVideo):
        probe(str(path))


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_frame_played_at_any_time(tmp_path, decoder):
    path = write_video(tmp_path / "v.mp4", [0.0, 0.1, 0.5, 0.6, 2.0])
    video = Video(str(path))
    asked = [2.5, 0.3, -1.0, 0.1, 0.49, 0.3, 1.99, 0.6]
    shown = video.frames_played_at(asked, short_px=HEIGHT, decoder=decoder)
    assert [round(f.time_s, 3) for f in shown] == [2.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.6, 0.6]
    assert [number_of(f.rgb) for f in shown] == [4, 1, 0, 1, 1, 1, 3, 3]
    with pytest.raises(ValueError, match="a time is a number"):
        video.frames_played_at([float("nan")], short_px=HEIGHT)
    assert "h264, 160 × 96, 5 frames, 2." in repr(video)
    assert "times_s=float64[5]" in repr(video.info) and len(repr(video.info)) < 600


def test_ranges_are_half_open(tmp_path):
    path = write_video(tmp_path / "v.mp4", every(0.1, 30))
    video = Video(str(path))
    (frames,) = video.decode_ranges([(0.0, 0.3)])
    assert [round(f.time_s, 3) for f in frames] == [0.0, 0.1, 0.2]


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "v.mp4"
    return Video(str(write_video(path, every(0.1, 60))))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=12))
def test_played_at_is_the_last_that_began(long_video, times_s):
    """With several groups of pictures, whatever the decoder jumps over."""
    starts = long_video.info.times_s
    shown = long_video.frames_played_at(times_s, short_px=HEIGHT)
    for time_s, frame in zip(times_s, shown, strict=True):
        began = starts[starts <= time_s + 1e-4]
        assert frame.time_s == pytest.approx(began[-1], abs=1e-4)
        assert number_of(frame.rgb) == len(began) - 1
