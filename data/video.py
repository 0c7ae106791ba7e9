"""What a video file says about itself, one sequential decode, and exact fetch by time.

Time is the presentation time (PTS) in seconds from the container's start, as a player shows it; never
frame number ÷ average rate, which variable rates put seconds off. The picture is that of the stream
FFmpeg calls best, turned as its rotation flag says.

`read` is PyAV's, so that what is measured, and chosen by it, is the same everywhere; `fetch` gives
pictures by PyAV or by decord (from `decord2`). What `read` gives is not converted until it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import av
import numpy as np
from av.error import FFmpegError

from data.sample import Reason

Decoder = Literal["pyav", "decord"]
Skip = Literal["none", "nonref", "nonkey"]
"""What the decoder leaves out: nothing, frames that no other needs, all but key frames."""
MAX_PIXELS = 2**26  # 8192 × 8192: a header that announces more would only eat memory


class BadVideo(Exception):
    """This file cannot be used; `reason` is from the closed list of quarantine reasons."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(reason, detail)  # both, so that it travels between processes
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class VideoInfo:
    """What a demux-only scan tells (a few ms: no frame is decoded)."""

    path: str
    container: str
    """FFmpeg's name of the file format."""
    codec: str
    width_px: int
    """As displayed: after rotation."""
    height_px: int
    rotation_deg: int
    """Counter-clockwise quarter turns that bring the picture upright: 0, 90, 180 or 270."""
    duration_s: float
    times_s: np.ndarray
    """(N,) float64, strictly increasing: when each announced frame is shown."""
    key_times_s: tuple[float, ...]
    """Where decoding can start, sorted."""
    num_announced: int
    """Frames the header or the packets promise, whichever is more."""


@dataclass(frozen=True)
class Frame:
    """One decoded picture, converted for keeping."""

    time_s: float
    rgb: np.ndarray
    """(H, W, 3) uint8, upright."""

    def __repr__(self) -> str:
        return f"Frame(time_s={self.time_s:.3f}, rgb={self.rgb.shape})"


class Kept(Protocol):
    """A picture at its final size in as little memory as its decoder needs."""

    num_bytes: int

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, upright."""


class Decoded(Protocol):
    """A frame as the decoder gave it; valid as long as it is held."""

    time_s: float

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Luma (H, W) and two chroma planes (h, w), uint8, limited range, as coded: not turned."""

    def keep(self, short_px: int) -> Kept:
        """Scaled by area averaging to a short side of at most `short_px`."""

    def rgb(self, short_px: int) -> np.ndarray:
        """(H, W, 3) uint8, upright, scaled fast: for looking at, not for keeping."""

    def motion(self) -> float | None:
        """Mean length of the codec's motion vectors as a share of the picture's width."""


def probe(path: str) -> VideoInfo:
    """Scan the packets of a file.

    Raises:
        BadVideo: missing file, unreadable, no video stream, no frames.
    """
    try:
        size_bytes = Path(path).stat().st_size if Path(path).is_file() else None
    except (OSError, ValueError) as error:  # a name too long, a folder not ours to enter
        raise BadVideo("missing file", f"{path[:200]}: {error.args[-1]}") from None
    if size_bytes is None:
        raise BadVideo("missing file", f"{path}: no such file")
    if size_bytes == 0:
        raise BadVideo("unreadable", f"{path}: the file is empty")
    try:
        with av.open(path) as container:
            return _scan(path, container)
    except MemoryError:  # FFmpeg raises it as one of its own errors
        raise
    except (FFmpegError, ValueError, OverflowError) as error:
        raise BadVideo("unreadable", f"{path}: {error}") from None


def _scan(path: str, container: av.container.InputContainer) -> VideoInfo:
    stream = best_stream(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        reason: Reason = "too large" if width * height else "unreadable"
        raise BadVideo(reason, f"{path}: pictures of {width} × {height} pixels")
    start_s = container_start_s(container)
    times, keys, end_s, last_s, discarded, untimed = [], [], 0.0, 0.0, 0, 0
    units = {
        s.index: (s.time_base.numerator, s.time_base.denominator)
        for s in container.streams
        if s.time_base is not None
    }
    for packet in container.demux():  # of every stream: the file is cut short where all of them end
        stamp = packet.pts if packet.pts is not None else packet.dts
        number = packet.stream_index
        mine = number == stream.index and packet.size > 0
        if stamp is None or packet.size == 0 or number not in units:
            untimed += mine
            continue
        shown_s = seconds(stamp, *units[number]) - start_s
        length_s = seconds(packet.duration or 0, *units[number])
        last_s = max(last_s, shown_s + length_s)
        if mine and packet.is_keyframe and packet.pts is not None:
            keys.append(shown_s)
        if mine and packet.is_discard:  # cut away by an edit list
            discarded += 1
        elif mine:
            times.append(shown_s)
            end_s = max(end_s, shown_s + length_s)
    if not times:
        why = (
            "its frames carry no times; remux it into MP4 or MKV"
            if untimed
            else "the video stream is empty"
        )
        raise BadVideo("no frames", f"{path}: {why}")
    times_s = np.unique(np.asarray(times, dtype=np.float64))
    step_s = (
        float(np.median(np.diff(times_s)))
        if len(times_s) > 1
        else 1 / float(stream.guessed_rate or 25)
    )
    if end_s <= times_s[-1]:
        end_s = float(times_s[-1]) + step_s
    repeated = len(times) - len(times_s)  # two frames of one time: only one is ever shown
    counted = (
        0 if discarded else stream.frames - repeated
    )  # the header counts what an edit cuts away
    announced = max(counted, len(times_s))
    if counted <= 0 and container.duration:  # no usable frame count: ask the header's duration
        header_s = container.duration / av.time_base - max(0.0, start_s)  # some count from zero
        if math.isfinite(header_s) and header_s > last_s > 0:
            announced = max(announced, round(len(times_s) * header_s / last_s))
    rotation = _rotation_deg(path)
    if rotation % 180:
        width, height = height, width
    return VideoInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.name,
        width_px=width,
        height_px=height,
        rotation_deg=rotation,
        duration_s=end_s,
        times_s=times_s,
        key_times_s=tuple(sorted(keys)),
        num_announced=announced,
    )


def best_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The one that FFmpeg calls best.

    Raises:
        BadVideo: there is none.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise BadVideo("no video stream", f"{container.name}: no video stream")
    return stream


def container_start_s(container: av.container.InputContainer) -> float:
    """Where the container's clock starts; every time is counted from here."""
    return (container.start_time or 0) / av.time_base


def seconds(ticks: int, numerator: int, denominator: int) -> float:
    """A time stamp in a stream's units → seconds. One function, so that equal stamps stay equal."""
    return ticks * numerator / denominator


def _rotation_deg(path: str) -> int:
    """The display matrix, which PyAV gives with a decoded frame only."""
    with av.open(path) as container:
        for packet in container.demux(best_stream(container)):
            try:
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    return round(frame.rotation / 90) * 90 % 360
            except FFmpegError:
                continue
    raise BadVideo("no frames", f"{path}: no frame can be decoded")


def scaled_size(width_px: int, height_px: int, *, short_px: int) -> tuple[int, int]:
    """Width and height with the short side at most `short_px`; never enlarged, never below 1."""
    factor = min(1.0, short_px / min(width_px, height_px))
    return max(1, round(width_px * factor)), max(1, round(height_px * factor))


def read(
    info: VideoInfo,
    *,
    threads: int = 0,
    skip: Skip = "none",
    vectors: bool = False,
) -> Iterator[Decoded]:
    """Every frame in presentation order, in one sequential decode.

    Damaged packets are passed over, as the ffmpeg program does; compare what came with
    `info.num_announced`. `threads`: of the decoder, 0 for as many as there are cores. `vectors`:
    also export motion vectors (H.264 and MPEG-4 have them).

    Raises:
        BadVideo: the decoder gave up.
    """
    from data import decode_pyav

    return decode_pyav.read(info, threads, skip, vectors)


def read_spans(
    info: VideoInfo, starts_s: Sequence[float], length_s: float, *, threads: int = 0
) -> Iterator[list[Decoded]]:
    """For each key frame time (increasing): the frames until `length_s` later or the next start,
    by one seek each. A start that cannot be reached gives an empty list."""
    from data import decode_pyav

    return decode_pyav.read_spans(info, starts_s, length_s, threads)


def fetch(
    info: VideoInfo,
    times_s: Sequence[float],
    *,
    short_px: int,
    decoder: Decoder = "pyav",
    threads: int = 0,
) -> list[Frame]:
    """Exactly the frames shown at `times_s` (increasing, as `read` gave them), for keeping: scaled
    by area averaging to a short side of `short_px`, never enlarged.

    Raises:
        BadVideo: a wanted frame cannot be decoded.
    """
    if decoder == "decord":
        from data import decode_decord  # imported where asked for: its libraries take a while

        frames = decode_decord.fetch(info, times_s, short_px, threads)
    else:
        from data import decode_pyav

        frames = decode_pyav.fetch(info, times_s, short_px, threads)
    got = [f.time_s for f in frames]
    if len(got) != len(times_s) or np.abs(np.subtract(got, times_s)).max(initial=0) > 1e-3:
        raise BadVideo("truncated", f"{info.path}: wanted frames at {list(times_s)} s, got {got}")
    return frames


def upright(rgb: np.ndarray, rotation_deg: int) -> np.ndarray:
    """(H, W, 3) turned counter-clockwise by quarter turns."""
    return np.ascontiguousarray(np.rot90(rgb, rotation_deg // 90)) if rotation_deg else rgb
