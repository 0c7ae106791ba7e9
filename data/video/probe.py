"""What a video file says about itself: a scan of its packets, in which no frame is decoded but one."""

from __future__ import annotations

import errno
import heapq
import math
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from data.sample import Reason, Repair
from data.video.hdr import CURVES
from data.video.info import (
    MAX_PIXELS,
    BadVideo,
    VideoInfo,
    best_stream,
    container_start_s,
    opened,
    seconds,
    square_px,
)
from data.video.stamps import UNSTAMPED, Clock

SLACK_S = 0.25
"""By which a header's duration may be longer than what is there: some count the last frame twice, or a gap in the sound."""
MOST_STRETCH = 4.0
"""Of a pixel's sides: beyond that a header is wrong, and its pixels are taken for square."""


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
        with opened(path) as container:
            return _scan(path, container)
    except MemoryError:  # FFmpeg raises it as one of its own errors
        raise
    except (FFmpegError, ValueError, OverflowError) as error:
        listed = isinstance(error, FFmpegError) and error.errno == errno.EINVAL
        why = (
            "a playlist, a still picture or another kind of file that is not read as a video"
            if listed
            else error
        )
        raise BadVideo("unreadable", f"{path}: {why}") from None


def _scan(path: str, container: av.container.InputContainer) -> VideoInfo:
    stream = best_stream(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        reason: Reason = "too large" if width * height else "unreadable"
        raise BadVideo(reason, f"{path}: pictures of {width} × {height} pixels")
    start_s = container_start_s(container)
    packets = _packets(container, stream, start_s)
    times_s, by_order = _times_s(path, container, packets)
    step_s = (
        float(np.median(np.diff(times_s)))
        if len(times_s) > 1
        else 1 / float(stream.guessed_rate or 25)
    )
    shown_s = packets.pictures_end_s
    if by_order or shown_s <= times_s[-1]:
        shown_s = float(times_s[-1]) + step_s
    if by_order:
        keys_s = [float(times_s[i]) for i, _ in packets.keys if i < len(times_s)]
    else:
        keys_s = [at_s for _, at_s in packets.keys if at_s is not None]
    rotation, curve = _first_picture(path)
    stretch = float(stream.sample_aspect_ratio or 1)
    if not 1 / MOST_STRETCH <= stretch <= MOST_STRETCH:
        stretch = 1.0
    width = square_px(width, stretch)
    if rotation % 180:
        width, height = height, width
    lacking = sum(at_s is None for at_s in packets.shown)
    repairs = (
        Repair("clock that started again", packets.restarts),
        Repair("frame without a time", 0 if lacking == len(packets.shown) else lacking),
        Repair(f"{CURVES.get(curve, '')} pictures shown as SDR", int(curve in CURVES)),
    )
    return VideoInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.name,
        width_px=width,
        height_px=height,
        rotation_deg=rotation,
        duration_s=max(shown_s, packets.sound_end_s),
        shown_s=shown_s,
        times_s=times_s,
        key_times_s=tuple(sorted(keys_s)),
        num_announced=_announced(container, stream, packets, len(times_s), start_s),
        stretch=stretch,
        by_order=by_order,
        hdr=curve in CURVES,
        restarts=packets.restarts,
        repairs=tuple(repair for repair in repairs if repair.count),
    )


@dataclass
class _Packets:
    """Of the video stream as they are stored, and where the others end; seconds from the container's start."""

    shown: list[float | None] = field(default_factory=list)
    """Presentation times of what is not cut away by an edit list."""
    decoded: list[float | None] = field(default_factory=list)
    """Decoding times of the same."""
    keys: list[tuple[int, float | None]] = field(default_factory=list)
    """Which of them decoding can start at, and when it is shown."""
    discarded: int = 0
    restarts: int = 0
    pictures_end_s: float = 0.0
    sound_end_s: float = 0.0
    end_s: float = 0.0
    """Of all streams: where the file ends, or is cut short."""


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float
) -> _Packets:
    seen = _Packets()
    units = {
        s.index: (s.time_base.numerator, s.time_base.denominator)
        for s in container.streams
        if s.time_base is not None
    }
    clocks = {s.index: Clock(container, s) for s in container.streams if s.index in units}
    sound = {s.index for s in container.streams if s.type == "audio"}
    for packet in container.demux():
        number = packet.stream_index
        if packet.size == 0 or number not in units:
            continue
        clocks[number].set_right(packet)
        at_s, decoded_s = (
            None if stamp is None else seconds(stamp, *units[number]) - start_s
            for stamp in (packet.pts, packet.dts)
        )
        known_s = decoded_s if at_s is None else at_s
        end_s = 0.0 if known_s is None else known_s + seconds(packet.duration or 0, *units[number])
        seen.end_s = max(seen.end_s, end_s)
        if number in sound:
            seen.sound_end_s = max(seen.sound_end_s, end_s)
        if number != stream.index:
            continue
        if packet.is_keyframe:
            seen.keys.append((len(seen.shown), at_s))
        if packet.is_discard:  # cut away by an edit list
            seen.discarded += 1
            continue
        seen.shown.append(at_s)
        seen.decoded.append(decoded_s)
        seen.pictures_end_s = max(seen.pictures_end_s, end_s)
    seen.restarts = clocks[stream.index].restarts if stream.index in clocks else 0
    return seen


def _times_s(
    path: str, container: av.container.InputContainer, packets: _Packets
) -> tuple[np.ndarray, bool]:
    """(N,) when frames are shown, and whether only their order says which is which.

    Raises:
        BadVideo: there are none, or nothing says when.
    """
    if not packets.shown:
        raise BadVideo("no frames", f"{path}: the video stream is empty")
    given = packets.shown
    known = [at_s for at_s in given if at_s is not None]
    unstamped = container.format.name in UNSTAMPED
    by_order = unstamped or len(known) < len(given)
    if unstamped or not known:
        given = packets.decoded
        known = [at_s for at_s in given if at_s is not None]
    if not known:
        raise BadVideo("no frames", f"{path}: its frames carry no times; remux it into MP4 or MKV")
    times_s = np.unique(np.asarray(known, dtype=np.float64))
    return _filled(times_s, len(given) - len(known)), by_order


def _filled(times_s: np.ndarray, lacking: int) -> np.ndarray:
    """With `lacking` times more, where those that are known leave the most room."""
    if not lacking or len(times_s) < 2:
        return times_s
    gaps = np.diff(times_s)
    more = np.zeros(len(gaps), np.int64)
    heap = [(-gap, i) for i, gap in enumerate(gaps.tolist())]
    heapq.heapify(heap)
    for _ in range(lacking):
        _, i = heap[0]
        more[i] += 1
        heapq.heapreplace(heap, (-gaps[i] / (more[i] + 1), i))
    parts = [
        np.linspace(start, stop, n + 2)[:-1]
        for start, stop, n in zip(times_s[:-1], times_s[1:], more, strict=True)
    ]
    return np.concatenate([*parts, times_s[-1:]])


def _announced(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: _Packets,
    there: int,
    start_s: float,
) -> int:
    """Frames that the header or the packets promise, whichever is more."""
    repeated = len(packets.shown) - there  # two frames of one time: only one is ever shown
    # the header counts what an edit cuts away
    counted = 0 if packets.discarded else stream.frames - repeated
    announced = max(counted, there)
    if counted <= 0 and container.duration:  # no usable frame count: ask the header's duration
        header_s = container.duration / av.time_base - max(0.0, start_s)  # some count from zero
        if math.isfinite(header_s) and header_s - SLACK_S > packets.end_s > 0:
            announced = max(announced, round(there * header_s / packets.end_s))
    return announced


def _first_picture(path: str) -> tuple[int, int]:
    """Its rotation (the display matrix) and its curve of light, which come with a decoded frame only."""
    with opened(path) as container:
        for packet in container.demux(best_stream(container)):
            try:
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    return round(frame.rotation / 90) * 90 % 360, int(frame.color_trc)
            except FFmpegError:
                continue
    raise BadVideo("no frames", f"{path}: no frame can be decoded")
