"""Scans a video file's packets for its metadata; only the first frame is decoded."""

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
"""How much longer than its packets a complete file's header duration may be: some muxers count the last frame
twice, or a gap in the audio."""
MOST_STRETCH = 4.0
"""Largest plausible pixel aspect ratio; beyond it the header is wrong, and pixels are taken as square."""


def probe(path: str) -> VideoInfo:
    """The metadata of a video file, in a few milliseconds.

    Raises:
        BadVideo: missing file, unreadable, too large, no video stream, no frames.
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
            "not a supported video container (a playlist, a still picture or another kind of file)"
            if listed
            else error
        )
        raise BadVideo("unreadable", f"{path}: {why}") from None


def _scan(path: str, container: av.container.InputContainer) -> VideoInfo:
    stream = best_stream(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        reason: Reason = "too large" if width * height else "unreadable"
        raise BadVideo(reason, f"{path}: frames of {width} × {height} pixels")
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
    unstamped = sum(at_s is None for at_s in packets.shown)
    repairs = (
        Repair("clock that started again", packets.restarts),
        Repair("frame without a time", 0 if unstamped == len(packets.shown) else unstamped),
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
    """The video stream's packets in storage order, and the ends of all streams; seconds from the container's
    start."""

    shown: list[float | None] = field(default_factory=list)
    """Presentation timestamp (PTS) of each packet that no edit list discards; None if it has none."""
    decoded: list[float | None] = field(default_factory=list)
    """Decoding timestamp (DTS) of the same packets."""
    keys: list[tuple[int, float | None]] = field(default_factory=list)
    """Key frames: index into `shown`, and PTS."""
    discarded: int = 0
    """Packets that an edit list discards."""
    restarts: int = 0
    pictures_end_s: float = 0.0
    sound_end_s: float = 0.0
    end_s: float = 0.0
    """End of the longest stream: where the file ends, or was truncated."""


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float
) -> _Packets:
    """Demux the whole file."""
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
        if packet.is_discard:  # by an edit list
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
    """(N,) timestamps of the frames, and whether frames get them by their order (`VideoInfo.by_order`).

    Raises:
        BadVideo: there are no frames, or none has a timestamp.
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
        raise BadVideo(
            "no frames", f"{path}: its frames have no timestamps; remux it into MP4 or MKV"
        )
    times_s = np.unique(np.asarray(known, dtype=np.float64))
    return _filled(times_s, len(given) - len(known)), by_order


def _filled(times_s: np.ndarray, missing: int) -> np.ndarray:
    """The known timestamps and `missing` more, which are placed evenly in the widest gaps."""
    if not missing or len(times_s) < 2:
        return times_s
    gaps = np.diff(times_s)
    more = np.zeros(len(gaps), np.int64)
    heap = [(-gap, i) for i, gap in enumerate(gaps.tolist())]
    heapq.heapify(heap)
    for _ in range(missing):
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
    num_times: int,
    start_s: float,
) -> int:
    """Number of frames by the header or by the packets, whichever is more."""
    repeated = len(packets.shown) - num_times  # of two frames with one timestamp, one is shown
    # the header's frame count includes frames that an edit list discards: then it is of no use
    counted = 0 if packets.discarded else stream.frames - repeated
    announced = max(counted, num_times)
    if counted <= 0 and container.duration:  # no usable frame count: use the header's duration
        header_s = container.duration / av.time_base - max(0.0, start_s)  # some count from zero
        if math.isfinite(header_s) and header_s - SLACK_S > packets.end_s > 0:
            announced = max(announced, round(num_times * header_s / packets.end_s))
    return announced


def _first_picture(path: str) -> tuple[int, int]:
    """Rotation (display matrix) and transfer function, which only a decoded frame tells: the first one's.

    Raises:
        BadVideo: no frame can be decoded.
    """
    with opened(path) as container:
        for packet in container.demux(best_stream(container)):
            try:
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    return round(frame.rotation / 90) * 90 % 360, int(frame.color_trc)
            except FFmpegError:
                continue
    raise BadVideo("no frames", f"{path}: no frame can be decoded")
