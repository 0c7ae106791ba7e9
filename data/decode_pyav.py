"""Decoding with PyAV: the default, right on every codec and frame rate tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from data.video import BadVideo, Frame, VideoInfo, best_stream, container_start_s, upright

SAME_S = 1e-4  # two times closer than this are the same frame


@contextmanager
def _opened(info: VideoInfo) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        with av.open(info.path) as container:
            stream = best_stream(container)
            stream.thread_type = "AUTO"
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


def _time_s(frame: av.VideoFrame, start_s: float) -> float | None:
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or frame.time_base is None:
        return None
    return float(stamp * frame.time_base) - start_s


def _picture(
    frame: av.VideoFrame,
    size: tuple[int, int],
    rotation_deg: int,
    scaler: VideoReformatter,
    how: str,
) -> np.ndarray:
    width, height = size if rotation_deg % 180 == 0 else size[::-1]
    scaled = scaler.reformat(frame, width, height, format="rgb24", interpolation=how)
    return upright(scaled.to_ndarray(), rotation_deg)


def read(info: VideoInfo, size: tuple[int, int]) -> Iterator[Frame]:
    """See `data.video.read`; `size` is (width, height) as displayed."""
    scaler = VideoReformatter()  # one for the whole file: each frame's own would leak its tables
    last_s = -np.inf
    with _opened(info) as (container, stream):
        start_s = container_start_s(container)
        for frame in _frames(container, stream):
            time_s = _time_s(frame, start_s)
            if time_s is None or time_s <= last_s + SAME_S:
                continue
            last_s = time_s
            yield Frame(time_s, _picture(frame, size, info.rotation_deg, scaler, "FAST_BILINEAR"))


def fetch(info: VideoInfo, times_s: Sequence[float], size: tuple[int, int]) -> list[Frame]:
    """See `data.video.fetch`. Seeks only where a wanted frame lies in a later group of pictures."""
    found = _collect(info, times_s, size, info.key_times_s)
    missed = [t for t in times_s if t not in found]
    if missed:  # some containers (MPEG-TS) seek past the key frame they were asked for
        found |= _collect(info, missed, size, [])
    return [found[t] for t in times_s if t in found]


def _collect(
    info: VideoInfo, times_s: Sequence[float], size: tuple[int, int], keys_s: Sequence[float]
) -> dict[float, Frame]:
    """Decode forward to each wanted time, jumping to the last of `keys_s` before it if that is ahead."""
    scaler = VideoReformatter()
    found: dict[float, Frame] = {}
    wanted = list(times_s)
    with _opened(info) as (container, stream):
        start_s = container_start_s(container)
        now_s, sought_s = -np.inf, 0.0
        while wanted:
            key_s = max((k for k in keys_s if k <= wanted[0] + SAME_S), default=-np.inf)
            if key_s > max(now_s, sought_s):  # each key once: a seek may land far before it
                sought_s = key_s
                ticks = (key_s + start_s) / (stream.time_base or Fraction(1, av.time_base))
                container.seek(round(ticks), stream=stream)
            for frame in _frames(container, stream):
                time_s = _time_s(frame, start_s)
                if time_s is None:
                    continue
                now_s = time_s
                while wanted and wanted[0] < time_s - SAME_S:  # passed without being decoded
                    wanted.pop(0)
                if wanted and time_s - wanted[0] > -SAME_S:
                    picture = _picture(frame, size, info.rotation_deg, scaler, "AREA")
                    found[wanted.pop(0)] = Frame(time_s, picture)
                if not wanted or _seeking_pays(keys_s, max(now_s, sought_s), wanted[0]):
                    break
            else:
                return found  # the end of the file
    return found


def _seeking_pays(keys_s: Sequence[float], now_s: float, wanted_s: float) -> bool:
    """True where a whole group of pictures lies between here and the wanted frame's own."""
    return sum(now_s < key_s <= wanted_s for key_s in keys_s) >= 2
