"""500 files by random container, codec, timing and damage: no crash, and nothing said that is not so.

Every picture carries its number, so that a lost, doubled or displaced frame is seen. FILES=2000 makes more.
"""

import os
import random
from fractions import Fraction

import av
import numpy as np
import pytest

from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.video.info import BadVideo
from data.video.probe import probe
from data.video.video import Video
from tests.helpers.videos import coded, number_of

pytestmark = pytest.mark.slow

FILES = int(os.environ.get("FILES", "500"))
LANES = 10
KINDS = (
    ("mp4", "libx264"), ("mov", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("avi", "libx264"), ("flv", "flv1"),
    ("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mpeg4"), ("mpg", "mpeg2video"), ("ts", "mpeg2video"), ("wmv", "wmv2"),
    ("mkv", "mpeg2video"), ("avi", "mjpeg"), ("webm", "libvpx"), ("mkv", "ffv1"), ("mp4", "libx265"),
)  # fmt: skip
UNEVEN = ("mp4", "mov", "mkv", "webm")
"""Containers that hold any time; the others are given a steady rate."""


def times_of(draw, count, uneven):
    """When each frame is shown, by a recorder that may start late, stumble or stand still."""
    if not uneven:
        return [i / 25 for i in range(count)]
    steps = [draw.choice([0.04, 0.04, 0.04, 0.02, 0.08, 0.5]) for _ in range(count)]
    if draw.random() < 0.2:
        steps[draw.randrange(count)] = draw.choice([30.0, 3600.0])
    start = draw.choice([0.0, 0.0, 1.4, 12.0])
    return [round(start + t, 3) for t in np.cumsum(steps) - steps[0]]


def written(draw, path, codec, count, times_s, uneven):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = 160, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if uneven:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = draw.choice([5, 12, 250])
        between = str(draw.choice([0, 2, 3]))
        if codec == "libx264":
            stream.options = {
                "crf": "12",
                "bf": between,
                "preset": "ultrafast" if between == "0" else "veryfast",
            }
        elif codec == "mpeg4":
            stream.options = {"bf": str(min(2, int(between))), "qmin": "2", "qmax": "4"}
        elif codec == "libx265":
            stream.options = {"x265-params": "log-level=none", "preset": "ultrafast"}
        elif codec == "libvpx":
            stream.options = {"deadline": "realtime", "cpu-used": "8", "b": "2M"}
        sound_s = (
            draw.choice([0.0, 0.0, 1.0, 5.0]) if path.suffix in (".mp4", ".mkv", ".ts") else 0.0
        )
        sound = out.add_stream("aac", rate=8000, layout="mono") if sound_s else None
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(coded(i % 256), format="rgb24")
            base = Fraction(1, 1000) if uneven else Fraction(1, 25)
            frame.pts, frame.time_base = round(times_s[i] / base), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if sound is not None:
            for i in range(int(sound_s * 8000 / 1024)):
                frame = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                frame.sample_rate, frame.pts = 8000, i * 1024
                out.mux(sound.encode(frame))
            out.mux(sound.encode())
    return sound_s


def plain(path):
    """Frames that FFmpeg's decoder gives, packet after packet, whatever one of them raises; None where it
    does not open the file."""
    count = 0
    try:
        av.open(str(path)).close()
    except av.error.FFmpegError:
        return None
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return count
                count += len(packet.decode())
            except av.error.EOFError:
                return count
            except av.error.FFmpegError:
                continue


def damaged(draw, path):
    content = bytearray(path.read_bytes())
    how = draw.choice(["cut", "bytes", "hole"])
    if how == "cut":
        content = content[: draw.randrange(len(content) // 4, len(content))]
    elif how == "bytes":
        for _ in range(draw.randrange(1, 30)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    else:
        at = draw.randrange(len(content))
        content[at : at + draw.randrange(1, 3000)] = b""
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("lane", range(LANES))
def test_any_file_is_read_as_it_is_or_refused(tmp_path, lane):
    for number in range(lane, FILES, LANES):
        draw = random.Random(number)
        suffix, codec = draw.choice(KINDS)
        uneven = suffix in UNEVEN and codec != "mpeg2video" and draw.random() < 0.6
        count = draw.randrange(3, 60)
        path = tmp_path / f"{number}.{suffix}"
        times_s = times_of(draw, count, uneven)
        sound_s = written(draw, path, codec, count, times_s, uneven)
        expected = list(range(count))
        parts = 1
        if suffix == "ts" and draw.random() < 0.5:  # recordings joined end to end
            parts = draw.randrange(2, 4)
            path.write_bytes(path.read_bytes() * parts)
            expected *= parts
        hurt = draw.random() < 0.4
        if hurt:
            damaged(draw, path)
        what = f"file {number}: {suffix} {codec}, {count} frames × {parts}, uneven {uneven}, sound {sound_s}, hurt {hurt}"
        try:
            info = probe(str(path))
            seen = [(f.time_s, number_of(f.rgb(96))) for f in Video(info.path).decode()]
            kept = choose_frames(
                str(path), FrameKeys(max=draw.choice([4, 16]), px=96), min_decoded=0.5
            )
        except (BadVideo, av.error.MemoryError) as refused:  # what eats memory is a worker's to end
            assert hurt or plain(path) is None, f"{what}: {refused}"
            continue
        at = [t for t, _ in seen]
        assert (np.diff(at) > 0).all() and at[-1] <= info.duration_s + 1e-6, what
        assert set(kept.times_s) <= set(at) and 0 < kept.decoded_share <= 1, what
        assert len(seen) <= max(plain(path), len(info.times_s)), what
        if kept.decoded_share > 0.999:  # then it is said that nothing is lost
            assert plain(path) <= len(seen) + 2, what
        if not hurt and plain(path) == count * parts:  # the encoder left none out
            assert [n for _, n in seen] == expected, what
            assert kept.decoded_share == 1, what
            if uneven:
                assert np.allclose(np.diff(at), np.diff(times_s), atol=2e-3), what
            elif parts == 1 and suffix != "mpg":  # which skips a stamp at its end
                assert np.allclose(np.diff(at), 0.04, atol=2e-3), what
            assert info.duration_s >= (times_s[-1] - times_s[0]) * parts, what
        path.unlink()
