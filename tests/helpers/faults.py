"""300 clips for the fault run: 240 plain, 20 awkward but good, 40 bad in 12 ways."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import av

from tests.helpers.videos import coded, every, write_audio, write_video

PLAIN, AWKWARD, BAD = 240, 20, 40
HANG, STANDS_IN = "hangs", "sitecustomize.py"
"""A file so named makes the stand-in's decoder sleep and never let go of the interpreter lock."""


def awkward(folder: Path) -> list[str]:
    """Twenty clips that are strange and all right."""
    tens, some = every(0.1, 12), every(0.1, 24)
    uneven = [0.0, 0.04, 0.5, 0.52, 0.9, 2.0, 2.01, 2.3, 4.0]
    made = [
        write_video(folder / "av1.mp4", tens, codec="libsvtav1"),
        write_video(folder / "av1.mkv", tens, codec="libsvtav1"),
        write_video(folder / "hevc10.mp4", tens, codec="libx265", pix_fmt="yuv420p10le"),
        write_video(folder / "hevc10.mkv", tens, codec="libx265", pix_fmt="yuv420p10le"),
        write_video(folder / "vp8.webm", tens, codec="libvpx"),
        write_video(folder / "vp8.mkv", tens, codec="libvpx"),
        write_video(folder / "vfr.mp4", uneven),
        write_video(folder / "vfr.mkv", uneven),
        *(write_video(folder / f"turned{n}.mp4", some, turn=n) for n in (1, 2, 3)),
        write_video(folder / "one.mp4", [0.0]),
        write_video(folder / "one.mkv", [0.0]),
        write_video(folder / "two.mkv", some, second_stream=True),
        write_video(folder / "late.mkv", some, start_s=100.0),
        write_video(folder / "live.mkv", some, container_options={"live": "1"}),
        write_video(folder / "odd.mkv", some, size=(161, 97), pix_fmt="yuv444p"),
        write_video(folder / "naïve 影片 'ü'.mp4", some),
        write_video(folder / "nothing.mp4\u2028.mp4", some),
    ]
    nearly = write_video(
        folder / "nearly.mp4", every(0.1, 240), container_options={"movflags": "faststart"}
    )
    nearly.write_bytes(nearly.read_bytes()[: int(nearly.stat().st_size * 0.96)])
    made.append(nearly)
    assert len(made) == AWKWARD
    return [path.name for path in made]


def bad(folder: Path) -> dict[str, str]:
    """Forty that are no use, and the reason each must be given."""
    reasons: dict[str, str] = {}

    def put(name: str, reason: str, content: bytes | None = b"") -> Path:
        reasons[name] = reason
        if content is not None:
            (folder / name).write_bytes(content)
        return folder / name

    source = write_video(
        folder / "source.mp4", every(0.1, 100), container_options={"movflags": "faststart"}
    ).read_bytes()
    streamed = write_video(folder / "source.mkv", every(0.1, 100)).read_bytes()
    listed = write_video(folder / "source.avi", every(0.1, 50), codec="mpeg4", rate=10).read_bytes()
    for name in ("source.mp4", "source.mkv", "source.avi"):
        (folder / name).unlink()
    body = source.find(b"mdat") + 4
    draw = random.Random(0)
    for i in range(4):
        put(f"zero{i}.mp4", "unreadable")
        put(f"text{i}.mp4", "unreadable", f"no video {i}\n".encode() * 99)
        page = f"<!DOCTYPE html><html><title>404</title><p>{i}</p></html>".encode()
        put(f"page{i}.mp4", "unreadable", page * 20)
        put(f"cut{i}.mp4", "truncated", source[: len(source) * (4 + i) // 10])
    for i in range(3):
        put(f"header{i}.mp4", "no frames", source[: body + 10 * i])
        write_audio(put(f"sound{i}.mp4", "no video stream"))
        put(f"empty{i}.avi", "no frames", listed[: listed.find(b"movi") + 4])
        put(f"liar{i}.mkv", "truncated", streamed[: len(streamed) * (3 + i) // 10])
        _large(put(f"large{i}.gif", "too large"), 16_000 + i)
        middle = bytearray(source)
        span = slice(len(middle) * 3 // 10, len(middle) * 7 // 10)
        middle[span] = draw.randbytes(span.stop - span.start)
        put(f"middle{i}.mp4", "truncated", bytes(middle))
        put(f"gone{i}.mp4", "missing file", None)
        put(f"{HANG}{i}.mp4", "timeout", source)
    assert len(reasons) == BAD
    return reasons


def _large(path: Path, side: int) -> None:
    """A few hundred bytes that announce pictures of a gigabyte."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "rgb8"
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(coded(i), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="rgb8")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    content[6:10] = side.to_bytes(2, "little") * 2  # the logical screen
    path.write_bytes(bytes(content))


STAND_IN = f'''
"""Runs at the start of every worker: one decoder of ours hangs as real ones do."""
import ctypes
import sys

if "pytest" not in sys.argv[0]:
    import av

    opened = av.open

    def hanging(file, *args, **kwargs):
        if "{HANG}" in str(file):
            ctypes.PyDLL(None).sleep(10_000)
        return opened(file, *args, **kwargs)

    av.open = hanging
'''


def build(folder: Path) -> dict[str, str]:
    """The clips, `rows.jsonl` in a mixed order, the stand-in; bad names with their reasons."""
    folder.mkdir()
    plain = []
    for i in range(12):
        plain.append(write_video(folder / f"plain{i}.mp4", every(0.1, 20 + i)).name)
    for i in range(12, PLAIN):
        plain.append(shutil.copy(folder / plain[i % 12], folder / f"plain{i}.mp4").name)
    reasons = bad(folder)
    names = [*plain, *awkward(folder), *reasons]
    random.Random(1).shuffle(names)
    rows = [
        {"id": name, "video": name, "description": f"about {name}", "events": [[0, 0.05, "start"]]}
        for name in names
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "stand-in").mkdir()
    (folder / "stand-in" / STANDS_IN).write_text(STAND_IN)
    return reasons
