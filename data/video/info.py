"""A video file: what is known of it, and what its decoders give.

Time is the presentation time (PTS) in seconds from the container's start, as a player shows it; never
frame number ÷ average rate, which variable rates put seconds off. The picture is that of the stream
FFmpeg calls best, turned as its rotation flag says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import av
import numpy as np

from data.sample import Reason, Repair

Decoder = Literal["pyav", "decord"]
Skip = Literal["none", "nonref", "nonkey"]
"""What the decoder leaves out: nothing, frames that no other needs, all but key frames."""
SAME_S = 1e-4  # two times closer than this are the same frame
MOST_SHOWN = 8  # of a tuple
MAX_PIXELS = 2**26  # 8192 × 8192: a header that announces more would only eat memory


def shapes_of(value: object) -> str:
    """A dataclass in one line, with the shapes of its arrays in place of their numbers."""
    shown = []
    for field in fields(value):  # type: ignore[arg-type]
        inner = getattr(value, field.name)
        if isinstance(inner, np.ndarray):
            inner = f"{inner.dtype}{list(inner.shape)}"
        elif isinstance(inner, tuple) and len(inner) > MOST_SHOWN:
            inner = f"({len(inner)} of them)"
        else:
            inner = repr(inner)
        shown.append(f"{field.name}={inner}")
    return f"{type(value).__name__}({', '.join(shown)})"


def played_at(starts_s: np.ndarray, time_s: float) -> int:
    """Which of the frames that begin at `starts_s` (N,), increasing, a player shows at a time: the last
    that begins at or before it; before the first the first."""
    return max(0, int(np.searchsorted(starts_s, time_s + SAME_S, side="right")) - 1)


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
    """As players show it, by which labels are made: until the end of the sound, where that is later."""
    shown_s: float
    """When the last picture ends by its own length."""
    times_s: np.ndarray
    """(N,) float64, strictly increasing: when each announced frame is shown."""
    key_times_s: tuple[float, ...]
    """Where decoding can start, sorted."""
    num_announced: int
    """Frames the header or the packets promise, whichever is more."""
    stretch: float = 1.0
    """Width ÷ height of a stored pixel, before turning."""
    by_order: bool = False
    """Frames carry no times of their own that hold: the i-th that is decoded is shown at the i-th time."""
    hdr: bool = False
    """Its light is on one of `data.video.hdr.CURVES`."""
    restarts: int = 0
    """How often the clock started again, in recordings that were joined."""
    repairs: tuple[Repair, ...] = ()
    """What was put right in the file's times and pictures."""

    def __repr__(self) -> str:
        return shapes_of(self)

    @property
    def seekable(self) -> bool:
        """Whether the stamps that a seek goes by are those of `times_s`."""
        return not (self.by_order or self.restarts)


@dataclass(frozen=True)
class Frame:
    """One decoded picture, converted for keeping."""

    time_s: float
    rgb: np.ndarray
    """(H, W, 3) uint8, upright."""

    def __repr__(self) -> str:
        return f"Frame(time_s={self.time_s:.3f}, rgb={self.rgb.shape})"


class StoredPicture(Protocol):
    """A picture at its final size in as little memory as its decoder needs."""

    num_bytes: int

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, upright."""


class DecodedFrame(Protocol):
    """A frame as the decoder gave it; valid as long as it is held."""

    time_s: float

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Luma (H, W) and two chroma planes (h, w), uint8, limited range, as coded: not turned."""

    def keep(self, short_px: int) -> StoredPicture:
        """Scaled by area averaging to a short side of at most `short_px`."""

    def rgb(self, short_px: int) -> np.ndarray:
        """(H, W, 3) uint8, upright, scaled fast: for looking at, not for keeping."""

    def motion(self) -> float | None:
        """Mean length of the codec's motion vectors as a share of the picture's width."""


FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,asf,flv,ogg,nut,mxf,rm,dv,"
    "mjpeg,gif,apng,yuv4mpegpipe,mp3,wav,aac,flac"
)
"""Containers that hold what they show. Others are lists of further files, wherever they lie."""


@contextmanager
def opened(path: str) -> Iterator[av.container.InputContainer]:
    """Every file that is not ours is opened here.

    Raises:
        FFmpegError: it cannot be read, or is none of `FORMATS`.
    """
    with av.open(path, options={"format_whitelist": FORMATS}) as container:
        yield container


def best_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The one that FFmpeg calls best.

    Raises:
        BadVideo: there is none.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise BadVideo("no video stream", f"{container.name}: no video stream")
    if stream.codec_context is None:  # a damaged header names none, or one that is not known here
        raise BadVideo("unreadable", f"{container.name}: no decoder for its video stream")
    return stream


def container_start_s(container: av.container.InputContainer) -> float:
    """Where the container's clock starts; every time is counted from here."""
    return (container.start_time or 0) / av.time_base


def seconds(ticks: int, numerator: int, denominator: int) -> float:
    """A time stamp in a stream's units → seconds. One function, so that equal stamps stay equal."""
    return ticks * numerator / denominator


def square_px(width_px: int, stretch: float) -> int:
    """The width of stored pixels, before turning, where each is as wide as high."""
    return max(1, round(width_px * stretch))


def scaled_size(width_px: int, height_px: int, *, short_px: int) -> tuple[int, int]:
    """Width and height with the short side at most `short_px`; never enlarged, never below 1."""
    factor = min(1.0, short_px / min(width_px, height_px))
    return max(1, round(width_px * factor)), max(1, round(height_px * factor))


def upright(rgb: np.ndarray, rotation_deg: int) -> np.ndarray:
    """(H, W, 3) turned counter-clockwise by quarter turns."""
    return np.ascontiguousarray(np.rot90(rgb, rotation_deg // 90)) if rotation_deg else rgb
