"""Videos made for tests. Every picture carries its own number as black and white bars, so that a
decoded frame says which frame it is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import runpy
import struct
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from data.video.info import Decoder, Frame, VideoInfo
from data.video.video import Video

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / name / "README.md"
    for name in (".", "data", "train", "train/evaluation", "recipes", "scripts")
]
"""What people read, in that order."""
WIDTH, HEIGHT, BITS = 160, 96, 8
TICK = Fraction(1, 1000)


def coded(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(H, W, 3): bar i is white where bit i of the number is set; the lower half is grey."""
    picture = np.full((height, width, 3), 128, dtype=np.uint8)
    bar = width // BITS
    for bit in range(BITS):
        picture[: height // 2, bit * bar : (bit + 1) * bar] = 235 if number >> bit & 1 else 20
    return picture


def number_of(rgb: np.ndarray) -> int:
    """The number that a (possibly scaled) upright picture carries."""
    height, width = rgb.shape[:2]
    row = rgb[height // 4].mean(axis=1)
    bar = width / BITS
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * bar)] > 128)


def write_video(
    path: Path,
    times_s: Sequence[float],
    *,
    codec: str = "libx264",
    start_s: float = 0.0,
    second_stream: bool = False,
    turn: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    gop: int = 12,
    rate: int | None = None,
    sound_s: float = 0.0,
    pix_fmt: str = "yuv420p",
    pixels: Fraction = Fraction(1),
    container_options: dict[str, str] | None = None,
) -> Path:
    """Frame i is shown at `start_s + times_s[i]`. `turn`: quarter turns that a player must undo.
    `rate`: frame numbers at this constant rate, for codecs that know no milliseconds. `pixels`: their width ÷ height."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        streams = []
        if second_stream:  # smaller, and first in the file
            streams.append(_stream(container, codec, (80, 48), gop, rate, pix_fmt))
            streams[0].disposition = Disposition.dependent  # not the one to play by default
        width, height = size if turn % 2 == 0 else size[::-1]
        streams.append(_stream(container, codec, (width, height), gop, rate, pix_fmt))
        streams[-1].codec_context.sample_aspect_ratio = pixels
        sound = container.add_stream("aac", rate=8000, layout="mono") if sound_s else None
        if second_stream:
            streams[-1].disposition = Disposition.default
        for i, time_s in enumerate(times_s):
            for stream in streams:
                main = stream is streams[-1]
                picture = coded(i, *size) if main else np.zeros((48, 80, 3), dtype=np.uint8)
                if main and turn:
                    picture = np.ascontiguousarray(np.rot90(picture, -turn))
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                tick = TICK if rate is None else Fraction(1, rate)
                frame.pts, frame.time_base = round((start_s + time_s) / tick), tick
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
        if sound is not None:
            for frame in _silence(sound_s):
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    if turn:
        _set_rotation(path, turn)
    return path


def _stream(
    container: av.container.OutputContainer,
    codec: str,
    size: tuple[int, int],
    gop: int,
    rate: int | None,
    pix_fmt: str,
):
    stream = container.add_stream(codec, rate=rate or 30)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt
    if rate is None:
        stream.time_base = stream.codec_context.time_base = TICK
    stream.codec_context.gop_size = gop
    if codec == "libx264":
        stream.options = {"crf": "12", "bf": "2"}
    if codec == "mpeg4":  # in AVI: frames out of order, and no presentation times to sort them by
        stream.options = {"bf": "2"}
    return stream


def _silence(length_s: float):
    for i in range(int(length_s * 8000 / 1024)):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 8000, i * 1024
        yield frame


def _set_rotation(path: Path, turn: int) -> None:
    """Write the display matrix of a counter-clockwise turn into the MP4's track headers."""
    one = 0x10000
    a, b, c, d = {1: (0, -one, one, 0), 2: (-one, 0, 0, -one), 3: (0, one, -one, 0)}[turn % 4]
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")
    while at >= 0:
        start = (
            at + 4 + 4 + 20 + 8 + 8
        )  # version+flags, times and ids (version 0), reserved, layer…volume
        struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 0x40000000)
        at = data.find(b"tkhd", at + 4)
    path.write_bytes(data)


def write_audio(path: Path) -> Path:
    """An MP4 with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for frame in _silence(1.0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def every(step_s: float, count: int) -> list[float]:
    return [i * step_s for i in range(count)]


def pictures(info: VideoInfo, short_px: int, decoder: Decoder = "pyav") -> list[Frame]:
    """Every frame in order."""
    if decoder == "decord":
        return Video(info.path).frames_played_at(
            info.times_s.tolist(), short_px=short_px, decoder=decoder
        )
    return [Frame(f.time_s, f.rgb(short_px)) for f in Video(info.path).decode()]


def run_command(
    *arguments: str, timeout_s: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of this project as a user would, from its root, offline."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def call_command(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script of this project in this process: without the seconds that its imports take."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = sys.argv, sys.path[0]
    sys.argv = [script, *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv, sys.path[0] = before
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def rgb_of(jpeg: bytes) -> np.ndarray:
    """(H, W, 3) int, so that pictures can be subtracted."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of each visible file in a folder by its name."""
    files = (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
