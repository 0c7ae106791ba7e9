"""Decodes with PyAV: the default decoder, correct on every codec and frame rate tried."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from data.video.hdr import CURVES, to_sdr
from data.video.info import (
    SAME_S,
    BadVideo,
    DecodedFrame,
    Frame,
    Skip,
    VideoInfo,
    best_stream,
    container_start_s,
    opened,
    scaled_size,
    seconds,
    square_px,
    upright,
)
from data.video.stamps import Clock

SKIP: dict[Skip, Literal["DEFAULT", "NONREF", "NONKEY"]] = {
    "none": "DEFAULT",
    "nonref": "NONREF",
    "nonkey": "NONKEY",
}
CHROMA_PX = 192  # shortest side of a chroma plane; below twice this, 4:4:4 is kept
PLANAR = {f"yuv{j}{s}p" for j in ("", "j") for s in ("420", "422", "444")}  # read as they are


@contextmanager
def _opened(
    info: VideoInfo, threads: int, skip: Skip = "none", vectors: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The file and its video stream, set up for decoding; FFmpeg's errors become BadVideo."""
    try:
        with opened(info.path) as container:
            stream = best_stream(container)
            stream.thread_type = "AUTO"
            # threads do not speed up key frames alone, and lose those next to damaged packets
            stream.codec_context.thread_count = 1 if skip == "nonkey" else threads
            if vectors:
                stream.codec_context.options = {"flags2": "+export_mvs"}
            stream.codec_context.skip_frame = SKIP[skip]
            yield container, stream
    except FFmpegError as error:
        raise BadVideo("unreadable", f"{info.path}: {error}") from None


def _frames(
    container: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(timestamp, frame) from the container's current position to the end. After a damaged packet the decoder
    conceals errors with invented pixels: such frames are skipped until the next key frame, so that a caller
    who counts frames counts real ones."""
    start_s = container_start_s(container)
    clock, order = Clock(container, stream), Order(info)
    half_s = float(np.median(np.diff(info.times_s))) / 2 if len(info.times_s) > 1 else 0.0
    packets = container.demux(stream)
    damaged, last_s = False, 0.0
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            clock.set_right(packet)
            order.fed(packet)
            decoded = packet.decode()
        except av.error.EOFError:
            return
        except FFmpegError:
            damaged = True
            continue
        for frame in decoded:
            assert isinstance(frame, av.VideoFrame)
            time_s = order.time_s(frame) if info.by_order else _time_s(frame, start_s)
            damaged = (damaged or frame.is_corrupt) and not frame.key_frame
            if time_s is None and not info.by_order:  # half a frame after the one before it
                time_s = last_s + half_s
            last_s = last_s if time_s is None else time_s
            if not damaged and time_s is not None:
                yield time_s, frame


class Order:
    """Timestamps for frames without their own: the i-th frame in decoder output order gets `times_s[i]`."""

    def __init__(self, info: VideoInfo):
        self._times_s = info.times_s
        self._fed = self._next = 0
        self._keys: deque[int] = deque()

    def fed(self, packet: av.Packet) -> None:
        """Count a packet that goes to the decoder, and note the numbers of key frames."""
        if packet.size and packet.is_keyframe:
            self._keys.append(self._fed)
        self._fed += packet.size > 0

    def time_s(self, frame: av.VideoFrame) -> float | None:
        """The timestamp of the next decoded frame; None if there are more frames than timestamps."""
        if frame.key_frame and self._keys:  # frames were lost: go on at the key frame's own number
            self._next = max(self._next, self._keys.popleft())
        number, self._next = self._next, self._next + 1
        return float(self._times_s[number]) if number < len(self._times_s) else None


def _ticks(stream: av.VideoStream, time_s: float) -> int:
    """Seconds → units of the stream's time base."""
    return round(time_s / (stream.time_base or Fraction(1, av.time_base)))


def _time_s(frame: av.VideoFrame, start_s: float) -> float | None:
    """The frame's own timestamp (PTS, else DTS) in seconds; None if it has neither."""
    stamp, unit = frame.pts if frame.pts is not None else frame.dts, frame.time_base
    if stamp is None or unit is None:
        return None
    return seconds(stamp, unit.numerator, unit.denominator) - start_s


class PyavFrame:
    """See `data.video.info.DecodedFrame`."""

    def __init__(self, frame: av.VideoFrame, time_s: float, info: VideoInfo, scalers: Scalers):
        self.time_s = time_s
        self._frame, self._info, self._scalers = frame, info, scalers

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frame = self._frame
        if frame.format.name not in PLANAR:  # high bit depths, RGB: converted at a small size
            small = self._scalers.small
            frame = small.reformat(frame, 256, 144, format="yuv420p", interpolation="FAST_BILINEAR")
        y, u, v = (
            np.frombuffer(p, dtype=np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]  # type: ignore[call-overload] # PyAV's types do not say that a plane is a buffer
            for p in frame.planes
        )
        return y, u, v

    def keep(self, short_px: int) -> PyavPicture:
        frame, size, scaler = self._frame, self._size(short_px), self._scalers.keep
        if frame.color_trc in CURVES:  # tone mapping needs 10 bits
            frame = scaler.reformat(frame, *size, format="yuv444p10le", interpolation="AREA")
            return PyavPicture(frame, self._info.rotation_deg, self._scalers)
        if size != (frame.width, frame.height) or frame.format.name not in PLANAR:
            # 4:2:0, as video is stored; a small picture would lose colour detail by it
            pixels = "yuv420p" if min(size) >= 2 * CHROMA_PX else "yuv444p"
            frame = scaler.reformat(frame, *size, format=pixels, interpolation="AREA")
        return PyavPicture(frame, self._info.rotation_deg, self._scalers)

    def rgb(self, short_px: int) -> np.ndarray:
        size, look = self._size(short_px), self._scalers.look
        scaled = look.reformat(self._frame, *size, format="rgb24", interpolation="FAST_BILINEAR")
        return upright(scaled.to_ndarray(), self._info.rotation_deg)

    def motion(self) -> float | None:
        side = self._frame.side_data.get("MOTION_VECTORS")
        if side is None:
            return None
        vectors = side.to_ndarray()
        length = np.hypot(vectors["motion_x"], vectors["motion_y"]) / np.maximum(
            1, vectors["motion_scale"]
        )
        area = vectors["w"].astype(np.float64) * vectors["h"]
        return float((length * area).sum() / max(1.0, area.sum()) / self._frame.width)

    def _size(self, short_px: int) -> tuple[int, int]:
        """Width and height before rotation, with square pixels."""
        width = square_px(self._frame.width, self._info.stretch)
        return scaled_size(width, self._frame.height, short_px=short_px)


class PyavPicture:
    """See `data.video.info.StoredPicture`; converted to RGB and rotated only when `rgb` is called."""

    def __init__(self, frame: av.VideoFrame, rotation_deg: int, scalers: Scalers):
        self.num_bytes = sum(plane.buffer_size for plane in frame.planes)
        self._frame, self._rotation_deg, self._scalers = frame, rotation_deg, scalers

    def rgb(self) -> np.ndarray:
        frame = self._frame
        if (curve := int(frame.color_trc)) in CURVES:
            wide = self._scalers.colour.reformat(frame, format="rgb48le").to_ndarray()
            return upright(to_sdr(wide, curve), self._rotation_deg)
        picture = self._scalers.colour.reformat(frame, format="rgb24").to_ndarray()
        return upright(picture, self._rotation_deg)


class Scalers:
    """One scaler per purpose, for one file: a scaler rebuilds its tables whenever sizes change."""

    def __init__(self) -> None:
        self.small, self.keep = VideoReformatter(), VideoReformatter()
        self.look, self.colour = VideoReformatter(), VideoReformatter()


def decode(info: VideoInfo, threads: int, skip: Skip, vectors: bool) -> Iterator[PyavFrame]:
    """See `Video.decode`."""
    scalers, last_s = Scalers(), -np.inf
    with _opened(info, threads, skip, vectors) as (container, stream):
        for time_s, frame in _frames(container, stream, info):
            if time_s <= last_s + SAME_S:
                continue
            last_s = time_s
            yield PyavFrame(frame, time_s, info, scalers)


def decode_ranges(
    info: VideoInfo, ranges_s: Sequence[tuple[float, float]], threads: int
) -> Iterator[list[DecodedFrame]]:
    """See `Video.decode_ranges`."""
    scalers = Scalers()
    with _opened(info, threads) as (container, stream):
        origin_s = container_start_s(container)
        for start_s, stop_s in ranges_s:
            container.seek(_ticks(stream, start_s + origin_s), stream=stream)
            span: list[DecodedFrame] = []
            for time_s, frame in _frames(container, stream, info):
                if time_s < start_s - SAME_S:
                    continue
                if time_s >= stop_s - SAME_S:
                    break
                span.append(PyavFrame(frame, time_s, info, scalers))
            yield span


def frames_played_at(
    info: VideoInfo, times_s: Sequence[float], short_px: int, threads: int
) -> list[Frame]:
    """See `Video.frames_played_at`; `times_s` must increase. Seeks only if at least one whole group of
    pictures (GOP) can be skipped."""
    keys_s = info.key_times_s if info.seekable else ()
    found = _collect(info, times_s, short_px, keys_s, threads)
    missed = [t for t in times_s if t not in found]
    if (
        missed
    ):  # some containers (MPEG-TS) seek past the requested key frame: decode without seeking
        found |= _collect(info, missed, short_px, [], threads)
    if missed := [t for t in times_s if t not in found]:
        raise BadVideo("truncated", f"{info.path}: no frame can be decoded for {missed} s")
    return [found[t] for t in times_s]


def _collect(
    info: VideoInfo, times_s: Sequence[float], short_px: int, keys_s: Sequence[float], threads: int
) -> dict[float, Frame]:
    """Wanted time → frame. Decodes forward, and seeks to the last of `keys_s` before a wanted time if that
    is ahead. A wanted time before the first frame after a seek is left out: the seek went too far."""
    scalers = Scalers()
    found: dict[float, Frame] = {}
    wanted = list(times_s)
    last: tuple[float, av.VideoFrame] | None = None

    def take(time_s: float, frame: av.VideoFrame) -> None:
        kept = PyavFrame(frame, time_s, info, scalers).keep(short_px)
        found[wanted.pop(0)] = Frame(time_s, kept.rgb())

    with _opened(info, threads) as (container, stream):
        start_s = container_start_s(container)
        now_s, sought_s = -np.inf, 0.0
        while wanted:
            key_s = max((k for k in keys_s if k <= wanted[0] + SAME_S), default=-np.inf)
            if key_s > max(now_s, sought_s):  # seek to each key once: a seek may land far before it
                sought_s, last = key_s, None
                container.seek(_ticks(stream, key_s + start_s), stream=stream)
            for time_s, frame in _frames(container, stream, info):
                now_s = time_s
                while wanted and wanted[0] < time_s - SAME_S:  # the frame before is still shown
                    if last is not None:
                        take(*last)
                    elif sought_s > 0:
                        wanted.pop(0)
                    else:
                        take(time_s, frame)
                last = (time_s, frame)
                while wanted and abs(time_s - wanted[0]) <= SAME_S:  # exact: the next is not needed
                    take(time_s, frame)
                if not wanted or _seeking_pays(keys_s, max(now_s, sought_s), wanted[0]):
                    break
            else:  # the end of the file
                while wanted and last is not None:
                    take(*last)
                return found
    return found


def _seeking_pays(keys_s: Sequence[float], now_s: float, wanted_s: float) -> bool:
    """Whether at least one whole group of pictures (GOP) lies between now and the wanted frame's own."""
    return sum(now_s < key_s <= wanted_s for key_s in keys_s) >= 2
