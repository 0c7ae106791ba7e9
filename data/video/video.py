"""A video file opened once: what is known of it, and its frames by time.

What is measured, and chosen by it, is always decoded by PyAV, so that it is the same everywhere; the
pictures of a few times may also be decord's (from `decord2`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.video import pyav_backend
from data.video.info import DecodedFrame, Decoder, Frame, Skip
from data.video.probe import probe


class Video:
    """A file that can be decoded.

    Example:
        >>> video = Video("clip.mp4")
        >>> video
        Video('clip.mp4': h264, 1280 × 720, 250 frames, 10.000 s)
        >>> video.frames_played_at([0.5, 9.99], short_px=512)
        [Frame(time_s=0.480, rgb=(512, 910, 3)), Frame(time_s=9.960, rgb=(512, 910, 3))]

    Raises:
        BadVideo: it is not there, or no video; the reason is one of quarantine's.
    """

    def __init__(self, path: str):
        self.info = probe(path)

    def __repr__(self) -> str:
        info = self.info
        return (
            f"Video({info.path!r}: {info.codec}, {info.width_px} × {info.height_px}, "
            f"{len(info.times_s)} frames, {info.duration_s:.3f} s)"
        )

    def decode(
        self, *, threads: int = 0, skip: Skip = "none", vectors: bool = False
    ) -> Iterator[DecodedFrame]:
        """Every frame in presentation order, in one sequential decode; none is converted until it is kept.

        Damaged packets are passed over, as the ffmpeg program does; compare what came with
        `info.num_announced`.

        Args:
            threads: of the decoder; 0 for as many as there are cores.
            vectors: also export motion vectors (H.264 and MPEG-4 have them).

        Raises:
            BadVideo: the decoder gave up.
        """
        return pyav_backend.decode(self.info, threads, skip, vectors)

    def decode_ranges(
        self, ranges_s: Sequence[tuple[float, float]], *, threads: int = 0
    ) -> Iterator[list[DecodedFrame]]:
        """For each range [start, stop), which begins at a key frame: its frames, by one seek. A start
        that cannot be reached gives an empty list."""
        return pyav_backend.decode_ranges(self.info, ranges_s, threads)

    def frames_played_at(
        self,
        times_s: Sequence[float],
        *,
        short_px: int,
        decoder: Decoder = "pyav",
        threads: int = 0,
    ) -> list[Frame]:
        """What a player shows at these times, in any order: for each the last frame that begins at or
        before it; before the first frame the first. Damaged frames are passed over.

        Args:
            short_px: frames are scaled to it by area averaging, never enlarged.

        Raises:
            BadVideo: the decoder gives none of the wanted frames.
            ValueError: a time is no number.
        """
        if not np.isfinite(np.asarray(times_s, dtype=np.float64)).all():
            raise ValueError(f"times_s={list(times_s)}: a time is a number of seconds")
        wanted = sorted({float(t) for t in times_s})
        if decoder == "decord":
            # its libraries take a while, so only where asked for
            from data.video import decord_backend

            frames = decord_backend.frames_played_at(self.info, wanted, short_px, threads)
        else:
            frames = pyav_backend.frames_played_at(self.info, wanted, short_px, threads)
        by_time = dict(zip(wanted, frames, strict=True))
        return [by_time[float(t)] for t in times_s]
