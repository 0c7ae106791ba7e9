"""Frames of a video: one sequential decode, and exact fetch by time.

`read` is PyAV's, so that what is measured, and chosen by it, is the same everywhere; `fetch` gives
pictures by PyAV or by decord (from `decord2`). What `read` gives is not converted until it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.video import pyav_backend
from data.video.info import BadVideo, DecodedFrame, Decoder, Frame, Skip, VideoInfo


def read(
    info: VideoInfo,
    *,
    threads: int = 0,
    skip: Skip = "none",
    vectors: bool = False,
) -> Iterator[DecodedFrame]:
    """Every frame in presentation order, in one sequential decode.

    Damaged packets are passed over, as the ffmpeg program does; compare what came with
    `info.num_announced`. `threads`: of the decoder, 0 for as many as there are cores. `vectors`:
    also export motion vectors (H.264 and MPEG-4 have them).

    Raises:
        BadVideo: the decoder gave up.
    """
    return pyav_backend.read(info, threads, skip, vectors)


def read_spans(
    info: VideoInfo, starts_s: Sequence[float], length_s: float, *, threads: int = 0
) -> Iterator[list[DecodedFrame]]:
    """For each key frame time (increasing): the frames until `length_s` later or the next start,
    by one seek each. A start that cannot be reached gives an empty list."""
    return pyav_backend.read_spans(info, starts_s, length_s, threads)


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
        from data.video import (
            decord_backend,  # imported where asked for: its libraries take a while
        )

        frames = decord_backend.fetch(info, times_s, short_px, threads)
    else:
        frames = pyav_backend.fetch(info, times_s, short_px, threads)
    got = [f.time_s for f in frames]
    if len(got) != len(times_s) or np.abs(np.subtract(got, times_s)).max(initial=0) > 1e-3:
        raise BadVideo("truncated", f"{info.path}: wanted frames at {list(times_s)} s, got {got}")
    return frames
