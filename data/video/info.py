"""The types for a video file, its metadata and its decoded frames.

A time is the presentation timestamp (PTS) in seconds from the container's start, as a player shows it, never
frame number ÷ average rate: with a variable frame rate that is wrong by seconds. Pictures come from the
stream that FFmpeg calls best, and are rotated as its rotation flag says.
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
"""Which frames the decoder skips: none, non-reference frames, or all frames but key frames."""
SAME_S = 1e-4  # two timestamps closer than this are the same frame
MOST_SHOWN = 8  # a longer tuple is shown by its length
MAX_PIXELS = 2**26  # 8192 × 8192: larger pictures are refused, they would exhaust the memory


def shapes_of(value: object) -> str:
    """A dataclass's fields in one line; arrays are shown by dtype and shape, long tuples by length."""
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
    """Index of the frame that a player shows at `time_s`: the last one that starts at or before it, or the
    first one if none does. `starts_s` (N,): start time of each frame, increasing."""
    return max(0, int(np.searchsorted(starts_s, time_s + SAME_S, side="right")) - 1)


class BadVideo(Exception):
    """This file cannot be used; `reason` is one of the quarantine reasons."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(reason, detail)  # both arguments, so that it can be pickled
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class VideoInfo:
    """The metadata of a video file, from a scan of its packets (`data.video.probe`)."""

    path: str
    container: str
    """FFmpeg's name of the container format."""
    codec: str
    width_px: int
    """As displayed: with square pixels, after rotation."""
    height_px: int
    rotation_deg: int
    """Counter-clockwise quarter turns that bring the picture upright: 0, 90, 180 or 270."""
    duration_s: float
    """Duration as players show it, to which labels refer: the end of the last frame or of the audio,
    whichever is later."""
    shown_s: float
    """End of the last frame, by its own duration."""
    times_s: np.ndarray
    """(N,) float64, strictly increasing: the timestamp (PTS) of each frame."""
    key_times_s: tuple[float, ...]
    """Timestamps of the key frames, sorted: decoding can start there."""
    num_announced: int
    """Number of frames by the header or by the packets, whichever is more."""
    stretch: float = 1.0
    """Pixel aspect ratio: width ÷ height of a stored pixel, before rotation."""
    by_order: bool = False
    """The frames have no reliable timestamps: the i-th decoded frame is shown at `times_s[i]`."""
    hdr: bool = False
    """The transfer function is one of `data.video.hdr.CURVES`."""
    restarts: int = 0
    """How often the timestamps restart (recordings joined end to end)."""
    repairs: tuple[Repair, ...] = ()
    """What was repaired in the file's timestamps and pictures."""

    def __repr__(self) -> str:
        return shapes_of(self)

    @property
    def seekable(self) -> bool:
        """Whether the file's own timestamps, by which a seek works, are those of `times_s`."""
        return not (self.by_order or self.restarts)


@dataclass(frozen=True)
class Frame:
    """One decoded picture, converted to RGB."""

    time_s: float
    rgb: np.ndarray
    """(H, W, 3) uint8, upright."""

    def __repr__(self) -> str:
        return f"Frame(time_s={self.time_s:.3f}, rgb={self.rgb.shape})"


class StoredPicture(Protocol):
    """A picture at its final size, kept in the decoder's compact pixel format."""

    num_bytes: int

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, upright."""


class DecodedFrame(Protocol):
    """A frame as the decoder returned it; valid as long as a reference to it is kept."""

    time_s: float

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Luma (H, W) and two chroma planes (h, w), uint8, limited range, as coded: not rotated."""

    def keep(self, short_px: int) -> StoredPicture:
        """Scaled by area averaging to a short side of at most `short_px`."""

    def rgb(self, short_px: int) -> np.ndarray:
        """(H, W, 3) uint8, upright, by a fast scaler: for analysis, not for storing."""

    def motion(self) -> float | None:
        """Mean length of the codec's motion vectors ÷ picture width; None for a frame without vectors."""


FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,asf,flv,ogg,nut,mxf,rm,dv,"
    "mjpeg,gif,apng,yuv4mpegpipe,mp3,wav,aac,flac"
)
"""FFmpeg's names of the allowed containers. Playlists are not among them: they name other files or URLs,
which FFmpeg would open."""


@contextmanager
def opened(path: str) -> Iterator[av.container.InputContainer]:
    """Open a file with PyAV. Every untrusted file is opened through this function.

    Raises:
        FFmpegError: it cannot be read, or its container is not one of `FORMATS`.
    """
    with av.open(path, options={"format_whitelist": FORMATS}) as container:
        yield container


def best_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The video stream that FFmpeg calls best.

    Raises:
        BadVideo: there is no video stream, or no decoder for it.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise BadVideo("no video stream", f"{container.name}: no video stream")
    if stream.codec_context is None:  # a damaged header, or a codec that FFmpeg lacks here
        raise BadVideo("unreadable", f"{container.name}: no decoder for its video stream")
    return stream


def container_start_s(container: av.container.InputContainer) -> float:
    """The container's start time; all times are relative to it."""
    return (container.start_time or 0) / av.time_base


def seconds(ticks: int, numerator: int, denominator: int) -> float:
    """A timestamp in units of a stream's time base → seconds. One function for all, so that equal
    timestamps give equal floats."""
    return ticks * numerator / denominator


def square_px(width_px: int, stretch: float) -> int:
    """The picture width with square pixels, before rotation, from the stored width."""
    return max(1, round(width_px * stretch))


def scaled_size(width_px: int, height_px: int, *, short_px: int) -> tuple[int, int]:
    """Width and height with the short side at most `short_px`; never enlarged, never below 1."""
    factor = min(1.0, short_px / min(width_px, height_px))
    return max(1, round(width_px * factor)), max(1, round(height_px * factor))


def upright(rgb: np.ndarray, rotation_deg: int) -> np.ndarray:
    """(H, W, 3) rotated counter-clockwise by `rotation_deg`, a multiple of 90."""
    return np.ascontiguousarray(np.rot90(rgb, rotation_deg // 90)) if rotation_deg else rgb
