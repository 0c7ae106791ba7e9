"""Writes rendered pictures to an H.264 file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data.storage import atomic

TICK = Fraction(1, 1000)


def write_h264(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    rate: int,
    times_s: Sequence[float] | np.ndarray | None = None,
    crf: int = 23,
    threads: int = 1,
) -> None:
    """Write an MP4 with x264 (B-frames, key frames at scene cuts). The write is atomic.

    Args:
        pictures: (H, W, 3) uint8 RGB, all of one size with even sides; at least one.
        rate: frames a second.
        times_s: timestamp of each picture, rounded to milliseconds; None: a constant `rate`.
        threads: encoder threads; 0: one per core. With 1 the output bytes are the same on every machine.
    """
    stream = None
    with atomic(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        for i, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream("libx264", rate=rate)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.thread_count = threads
                stream.options = {"preset": "veryfast", "crf": str(crf)}
                if times_s is not None:
                    stream.time_base = stream.codec_context.time_base = TICK
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times_s is not None:
                frame.pts, frame.time_base = round(float(times_s[i]) / TICK), TICK
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
