"""Files as they are really recorded, joined, cut and converted: no frame lost in silence, no time made up."""

import json
import zipfile
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.choose import analyse, choose_frames, chosen_pictures
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from data.video.hdr import WHITE, to_sdr
from data.video.info import BadVideo
from data.video.probe import _filled, probe
from data.video.video import Video
from tests.helpers.videos import HEIGHT, coded, every, number_of, write_video


def decoded(path):
    """What is there: (time, number in the picture) of every frame, in order."""
    return [(f.time_s, number_of(f.rgb(HEIGHT))) for f in Video(str(path)).decode()]


def chosen(path, **keys):
    return [
        number_of(p)
        for p in chosen_pictures(analyse(str(path), FrameKeys(**keys)), FrameKeys(**keys))
    ]


# --- the clock ---------------------------------------------------------------------------------


def joined(tmp_path, *lengths):
    parts = []
    for i, count in enumerate(lengths):
        part = write_video(tmp_path / f"{i}.ts", every(0.04, count), gop=10)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("speed", ["exact", "fast", "keyframes"])
def test_recordings_joined_end_to_end_are_one(tmp_path, speed):
    path = joined(tmp_path, 50, 30, 40)
    info = probe(str(path))
    seen = decoded(path)
    assert len(seen) == 120 and info.restarts == 2
    assert [n for _, n in seen] == [*range(50), *range(30), *range(40)]
    assert np.allclose(np.diff([t for t, _ in seen]), 0.04, atol=1e-3)
    assert info.duration_s == pytest.approx(4.8, abs=0.05)
    kept = choose_frames(str(path), FrameKeys(policy="uniform", max=12, px=96, speed=speed))
    assert kept.decoded_share == 1 and max(kept.times_s) > 3.5
    assert [r.what for r in kept.repairs] == ["clock that started again"]
    some = [t for t, _ in seen][::17]
    fetched = Video(info.path).frames_played_at(some, short_px=HEIGHT)
    assert [number_of(f.rgb) for f in fetched] == [n for _, n in seen][::17]


@pytest.mark.parametrize("policy", ["scene", "uniform", "l1"])
@pytest.mark.parametrize("gap_s", [3600.0, 36_000.0])
def test_a_gap_is_in_the_row_and_takes_no_frames(tmp_path, policy, gap_s):
    """A recorder that stood still: its frames exist on both sides."""
    times_s = [*every(0.04, 100), *(gap_s + t for t in every(0.04, 100))]
    path = write_video(tmp_path / "gap.mkv", times_s)
    kept = choose_frames(str(path), FrameKeys(policy=policy, max=12, px=96))
    before = sum(t < gap_s / 2 for t in kept.times_s)
    assert before >= 3 and len(kept.times_s) - before >= 3
    assert kept.unseen_s == pytest.approx(gap_s - 3.96, abs=0.1)


def test_one_stray_frame_takes_one(tmp_path):
    path = write_video(tmp_path / "stray.mkv", [*every(0.04, 100), 36_000.0])
    for policy in ("scene", "uniform"):
        kept = choose_frames(str(path), FrameKeys(policy=policy, max=8, px=96))
        assert sum(t < 5 for t in kept.times_s) >= 6, policy


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_knows_no_presentation_times(tmp_path, codec):
    """With B-frames: every frame, in order, at the container's rate."""
    path = write_video(tmp_path / "b.avi", every(0.04, 90), codec=codec, rate=25)
    seen = decoded(path)
    assert [n for _, n in seen] == list(range(90))
    assert np.allclose([t for t, _ in seen], every(0.04, 90), atol=1e-6)
    info = probe(str(path))
    fetched = Video(info.path).frames_played_at([0.0, 0.52, 3.16], short_px=HEIGHT)
    assert [number_of(f.rgb) for f in fetched] == [0, 13, 79]
    for speed in ("exact", "fast", "keyframes"):
        kept = choose_frames(str(path), FrameKeys(policy="uniform", max=9, px=96, speed=speed))
        assert kept.decoded_share == 1 and len(kept.times_s) == 9
    assert chosen(path, policy="uniform", max=9, px=96) == [5, 15, 25, 35, 45, 55, 65, 75, 85]


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=40, unique=True), st.integers(0, 30))
def test_frames_without_a_time_get_one_between_their_neighbours(ticks, lacking):
    known = np.sort(np.array(ticks)) / 100
    filled = _filled(known, lacking)
    assert len(filled) == len(known) + lacking and (np.diff(filled) > 0).all()
    assert np.isin(known, filled).all()
    if lacking:
        assert np.diff(filled).max() <= np.diff(known).max()


def test_a_frame_that_brings_no_time_is_not_lost(tmp_path, monkeypatch):
    """As decoders give where a packet held two: it is shown between its neighbours."""
    from data.video import pyav_backend

    path = write_video(tmp_path / "v.mkv", every(0.04, 60))
    own = pyav_backend._time_s
    monkeypatch.setattr(
        pyav_backend, "_time_s", lambda frame, start_s: None if round(frame.time / 0.04) % 7 == 3 else own(frame, start_s)
    )  # fmt: skip
    seen = decoded(path)
    assert [n for _, n in seen] == list(range(60))
    times_s = np.array([t for t, _ in seen])
    assert (np.diff(times_s) > 0).all() and np.abs(times_s - every(0.04, 60)).max() <= 0.0201
    (frame,) = Video(str(path)).frames_played_at([seen[31][0]], short_px=HEIGHT)
    assert number_of(frame.rgb) == 31


def test_sound_that_goes_on_keeps_the_last_picture(tmp_path):
    path = write_video(tmp_path / "still.mp4", [0.0], sound_s=60.0)
    (tmp_path / "rows.jsonl").write_text(json.dumps(
        {"id": "a", "video": "still.mp4", "events": [[0, 30, "A host talks."], [30, 60, "Music plays."]]}
    ))  # fmt: skip
    assert probe(str(path)).duration_s == pytest.approx(60, abs=0.2)
    source = SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))
    prepare(PrepareConfig(source=source, out=str(tmp_path / "o"), workers=1))
    (row,) = Prepared.open(tmp_path / "o").rows()
    assert [e["text"] for e in row["events"]] == ["A host talks.", "Music plays."]
    assert row["events"][1]["end_s"] == pytest.approx(60, abs=0.2) and len(row["frames"]) == 1
    assert row["repairs"] == []


def test_what_starts_at_the_last_instant_is_kept(tmp_path):
    write_video(tmp_path / "v.mp4", every(0.1, 50))
    row = {
        "id": "a",
        "video": "v.mp4",
        "events": [[0, 5, "It runs."], [4.95, 6.0, "It ends."], [5.2, 6.0, "No."]],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    source = SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))
    prepare(PrepareConfig(source=source, out=str(tmp_path / "o"), workers=1))
    (row,) = Prepared.open(tmp_path / "o").rows()
    assert [e["text"] for e in row["events"]] == ["It runs.", "It ends."]


# --- the picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 1])
def test_pixels_that_are_not_square(tmp_path, turn):
    """As on DVD: stored frames have the shape that people see."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for i in range(8):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(coded(i), format="rgb24")))
        out.mux(stream.encode())
    info = probe(str(path))
    assert (info.width_px, info.height_px) == (213, 96)
    (picture,) = chosen_pictures(
        analyse(str(path), FrameKeys(policy="uniform", max=1)), FrameKeys(max=1)
    )
    assert picture.shape == (96, 213, 3)
    (smaller,) = Video(info.path).frames_played_at([0.3], short_px=48)
    assert smaller.rgb.shape == (48, 106, 3) and number_of(smaller.rgb) == 3
    by_decord = Video(info.path).frames_played_at([0.3], short_px=96, decoder="decord")[0].rgb
    assert by_decord.shape == (96, 213, 3) and number_of(by_decord) == 3


def hdr(path, curve, code):
    """A box of 10-bit luma `code` on black."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = curve, 9, 9
        for _ in range(5):
            frame = av.VideoFrame(320, 240, "yuv420p10le")
            for number, plane in enumerate(frame.planes):
                values = np.full(
                    (plane.height, plane.line_size // 2), 512 if number else 64, np.uint16
                )
                if number == 0:
                    values[60:180, 80:240] = code
                plane.update(values.tobytes())
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize(("curve", "code", "name"), [(16, 509, "PQ"), (18, 721, "HLG")])
def test_hdr_is_shown_as_an_ordinary_screen_would(tmp_path, curve, code, name):
    """White (100 cd/m² in PQ, the reference white of HLG) is white, and a word of it is in the row."""
    kept = choose_frames(
        str(hdr(tmp_path / "hdr.mp4", curve, code)), FrameKeys(policy="uniform", max=1)
    )
    assert [r.what for r in kept.repairs] == [f"HDR ({name}) pictures shown as SDR"]
    keys = FrameKeys(policy="uniform", max=1)
    (picture,) = chosen_pictures(analyse(str(tmp_path / "hdr.mp4"), keys), keys)
    assert picture[120, 160].min() > 240 and picture[10, 10].max() < 10
    with pytest.raises(BadVideo, match=r"HDR.*use frames\.decoder=pyav"):
        Video(str(tmp_path / "hdr.mp4")).frames_played_at([0.0], short_px=96, decoder="decord")


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.sampled_from([16, 18]))
@settings(max_examples=50)
def test_brighter_stays_brighter_and_grey_stays_grey(a, b, curve):
    low, high = sorted((a, b))
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    picture = np.stack([np.r_[ramp, low, high]] * 3, axis=-1)[None]  # (1, 66, 3)
    shown = to_sdr(picture, curve).astype(int)
    assert (np.diff(shown[0, :64], axis=0) >= 0).all()
    assert (shown[0, 64] <= shown[0, 65]).all()
    assert np.ptp(shown, axis=2).max() <= 1
    assert shown.max() == 255 and WHITE == 100


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_pictures_that_move(tmp_path, name):
    from PIL import Image

    frames = [Image.fromarray(coded(i)) for i in range(8)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=250, loop=0)
    seen = decoded(tmp_path / name)
    assert [n for _, n in seen] == list(range(8))
    assert [t for t, _ in seen] == pytest.approx([i / 4 for i in range(8)])


def test_a_moment_of_different_pictures_gives_them_all(tmp_path):
    path = write_video(tmp_path / "short.mp4", every(0.04, 10))
    assert chosen(path, policy="scene", max=12, px=96) == list(range(10))


# --- what is no video --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_a_list_of_other_files_is_not_followed(tmp_path, name):
    """Whatever its extension: rows of strangers would read this machine's files by it."""
    write_video(tmp_path / "private.ts", every(0.1, 20))
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nprivate.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile private.ts\n")
    with av.open(str(tmp_path / name)) as followed:  # FFmpeg by itself
        assert followed.format.name in ("hls", "concat")
    with pytest.raises(BadVideo, match="a playlist") as refused:
        probe(str(tmp_path / name))
    assert refused.value.reason == "unreadable"


def test_decord_is_refused_where_it_counts_otherwise(tmp_path):
    """An edit list cuts the start: its number of a frame means another picture."""
    path = write_video(tmp_path / "edited.mp4", every(0.1, 60), start_s=-2.0)
    info = probe(str(path))
    wanted = [f.time_s for f in Video(info.path).decode()][::7]
    assert [
        number_of(f.rgb) for f in Video(info.path).frames_played_at(wanted, short_px=HEIGHT)
    ] == [20, 27, 34, 41, 48, 55]
    with pytest.raises(
        BadVideo, match=r"decord counts \d+ frames where 40 are shown; use frames\.decoder=pyav"
    ):
        Video(info.path).frames_played_at(wanted, short_px=HEIGHT, decoder="decord")


def test_archives_that_are_none(tmp_path, monkeypatch):
    """A damaged member, one that is too large, no archive at all, none there: reasons of the closed list."""
    from data.media import Missing, ZipMember
    from data.offline.unpack import Unpacker

    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("good.mp4", b"x" * 2000)
        archive.writestr("large.mp4", b"x" * 5000)
    content = (tmp_path / "v.zip").read_bytes()
    at = content.index(b"x" * 2000)
    (tmp_path / "hurt.zip").write_bytes(content[:at] + b"y" + content[at + 1 :])
    (tmp_path / "none.zip").write_text("no archive")
    monkeypatch.setattr("data.offline.unpack.MAX_BYTES", 4000)
    for archive, member, reason in (
        ("hurt", "good.mp4", "unreadable"), ("v", "large.mp4", "too large"), ("none", "a.mp4", "unreadable"),
        ("gone", "a.mp4", "missing file"), ("v", "a.mp4", "missing file"),
    ):  # fmt: skip
        with pytest.raises(Missing) as lost:
            Unpacker(tmp_path).to_local_file(ZipMember(str(tmp_path / f"{archive}.zip"), member))
        assert lost.value.reason == reason, (archive, member)
