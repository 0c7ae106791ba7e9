"""Decoding with PyAV: the default, right on every codec and frame rate tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from data.video import (
    BadVideo,
    Decoded,
    Frame,
    Skip,
    VideoInfo,
    best_stream,
    container_start_s,
    scaled_size,
    seconds,
    upright,
)

SAME_S = 1e-4  # two times closer than this are the same frame


SKIP: dict[Skip, Literal["DEFAULT", "NONREF", "NONKEY"]] = {
    "none": "DEFAULT",
    "nonref": "NONREF",
    "nonkey": "NONKEY",
}
CHROMA_PX = 192  # short side that chroma keeps at least
PLANAR = {f"yuv{j}{s}p" for j in ("", "j") for s in ("420", "422", "444")}


@contextmanager
def _opened(
    info: VideoInfo, threads: int, skip: Skip = "none", vectors: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        with av.open(info.path) as container:
            stream = best_stream(container)
            stream.thread_type = "AUTO"
            # key frames alone gain nothing by threads, and near damage they would be lost in them
            stream.codec_context.thread_count = 1 if skip == "nonkey" else threads
            if vectors:
                stream.codec_context.options = {"flags2": "+export_mvs"}
            stream.codec_context.skip_frame = SKIP[skip]
            yield container, stream
    except FFmpegError as error:
        raise BadVideo("unreadable", f"{info.path}: {error}") from None


def _frames(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """Decode onwards from where the container stands.

    After a damaged packet the decoder patches pictures together from what it has; those are left
    out until the next key frame, so that a caller who counts frames counts real ones.
    """
    packets = container.demux(stream)
    damaged = False
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            decoded = packet.decode()
        except av.error.EOFError:
            return
        except FFmpegError:
            damaged = True
            continue
        for frame in decoded:
            damaged = (damaged or frame.is_corrupt) and not frame.key_frame
            if not damaged:
                yield frame


def _ticks(stream: av.VideoStream, time_s: float) -> int:
    return round(time_s / (stream.time_base or Fraction(1, av.time_base)))


def _time_s(frame: av.VideoFrame, start_s: float) -> float | None:
    stamp = frame.pts if frame.pts is not None else frame.dts
    unit = frame.time_base
    if stamp is None or unit is None:
        return None
    return seconds(stamp, unit.numerator, unit.denominator) - start_s


class PyavFrame:
    """See `data.video.Decoded`."""

    def __init__(self, frame: av.VideoFrame, time_s: float, info: VideoInfo, scalers: Scalers):
        self.time_s = time_s
        self._frame, self._info, self._scalers = frame, info, scalers

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frame = self._frame
        if frame.format.name not in PLANAR:  # high bit depths, RGB: converted small
            frame = self._scalers.small.reformat(
                frame, 256, 144, format="yuv420p", interpolation="FAST_BILINEAR"
            )
        y, u, v = (
            np.frombuffer(p, dtype=np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]  # type: ignore[call-overload] # PyAV's types do not say that a plane is a buffer
            for p in frame.planes
        )
        return y, u, v

    def keep(self, short_px: int) -> PyavKept:
        frame, size = self._frame, self._size(short_px)
        if size != (frame.width, frame.height) or frame.format.name not in PLANAR:
            # half-size chroma is how video is stored; a small picture would lose colour by it
            pixels = "yuv420p" if min(size) >= 2 * CHROMA_PX else "yuv444p"
            frame = self._scalers.keep.reformat(frame, *size, format=pixels, interpolation="AREA")
        return PyavKept(frame, self._info.rotation_deg, self._scalers)

    def rgb(self, short_px: int) -> np.ndarray:
        width, height = self._size(short_px)
        scaled = self._scalers.look.reformat(
            self._frame, width, height, format="rgb24", interpolation="FAST_BILINEAR"
        )
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
        """Width and height as coded: before turning."""
        return scaled_size(self._frame.width, self._frame.height, short_px=short_px)


class PyavKept:
    """See `data.video.Kept`: turned and coloured when it is asked for."""

    def __init__(self, frame: av.VideoFrame, rotation_deg: int, scalers: Scalers):
        self.num_bytes = sum(plane.buffer_size for plane in frame.planes)
        self._frame, self._rotation_deg, self._scalers = frame, rotation_deg, scalers

    def rgb(self) -> np.ndarray:
        picture = self._scalers.colour.reformat(self._frame, format="rgb24").to_ndarray()
        return upright(picture, self._rotation_deg)


class Scalers:
    """One per use and file: a scaler rebuilds its tables whenever sizes change."""

    def __init__(self) -> None:
        self.small, self.keep = VideoReformatter(), VideoReformatter()
        self.look, self.colour = VideoReformatter(), VideoReformatter()


def read(info: VideoInfo, threads: int, skip: Skip, vectors: bool) -> Iterator[PyavFrame]:
    """See `data.video.read`."""
    scalers = Scalers()
    last_s = -np.inf
    with _opened(info, threads, skip, vectors) as (container, stream):
        start_s = container_start_s(container)
        for frame in _frames(container, stream):
            time_s = _time_s(frame, start_s)
            if time_s is None or time_s <= last_s + SAME_S:
                continue
            last_s = time_s
            yield PyavFrame(frame, time_s, info, scalers)


def read_spans(
    info: VideoInfo, starts_s: Sequence[float], length_s: float, threads: int
) -> Iterator[list[Decoded]]:
    """See `data.video.read_spans`."""
    scalers = Scalers()
    with _opened(info, threads) as (container, stream):
        origin_s = container_start_s(container)
        for i, start_s in enumerate(starts_s):
            stop_s = min([start_s + length_s, *starts_s[i + 1 : i + 2]])
            container.seek(_ticks(stream, start_s + origin_s), stream=stream)
            span: list[Decoded] = []
            for frame in _frames(container, stream):
                time_s = _time_s(frame, origin_s)
                if time_s is None or time_s < start_s - SAME_S:
                    continue
                if time_s >= stop_s - SAME_S:
                    break
                span.append(PyavFrame(frame, time_s, info, scalers))
            yield span


def fetch(info: VideoInfo, times_s: Sequence[float], short_px: int, threads: int) -> list[Frame]:
    """See `data.video.fetch`. Seeks only where a wanted frame lies in a later group of pictures."""
    found = _collect(info, times_s, short_px, info.key_times_s, threads)
    missed = [t for t in times_s if t not in found]
    if missed:  # some containers (MPEG-TS) seek past the key frame they were asked for
        found |= _collect(info, missed, short_px, [], threads)
    return [found[t] for t in times_s if t in found]


def _collect(
    info: VideoInfo,
    times_s: Sequence[float],
    short_px: int,
    keys_s: Sequence[float],
    threads: int,
) -> dict[float, Frame]:
    """Decode forward to each wanted time, jumping to the last of `keys_s` before it if that is ahead."""
    scalers = Scalers()
    found: dict[float, Frame] = {}
    wanted = list(times_s)
    with _opened(info, threads) as (container, stream):
        start_s = container_start_s(container)
        now_s, sought_s = -np.inf, 0.0
        while wanted:
            key_s = max((k for k in keys_s if k <= wanted[0] + SAME_S), default=-np.inf)
            if key_s > max(now_s, sought_s):  # each key once: a seek may land far before it
                sought_s = key_s
                container.seek(_ticks(stream, key_s + start_s), stream=stream)
            for frame in _frames(container, stream):
                time_s = _time_s(frame, start_s)
                if time_s is None:
                    continue
                now_s = time_s
                while wanted and wanted[0] < time_s - SAME_S:  # passed without being decoded
                    wanted.pop(0)
                if wanted and time_s - wanted[0] > -SAME_S:
                    kept = PyavFrame(frame, time_s, info, scalers).keep(short_px)
                    found[wanted.pop(0)] = Frame(time_s, kept.rgb())
                if not wanted or _seeking_pays(keys_s, max(now_s, sought_s), wanted[0]):
                    break
            else:
                return found  # the end of the file
    return found


def _seeking_pays(keys_s: Sequence[float], now_s: float, wanted_s: float) -> bool:
    """True where a whole group of pictures lies between here and the wanted frame's own."""
    return sum(now_s < key_s <= wanted_s for key_s in keys_s) >= 2
