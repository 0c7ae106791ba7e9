"""A video file: its metadata and its frames by time.

Frames are always measured, and so chosen, from PyAV's decode, so that the choice is the same everywhere.
Only the pictures at given times can also be decoded by decord (package `decord2`).
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
        >>> video = Video("holiday.mp4")
        >>> video
        Video('holiday.mp4': h264, 96 × 96, 95 frames, 9.500 s)
        >>> video.frames_played_at([0.52, 9.49], short_px=64)
        [Frame(time_s=0.500, rgb=(64, 64, 3)), Frame(time_s=9.400, rgb=(64, 64, 3))]

    Raises:
        BadVideo: the file is missing or cannot be used, with the quarantine reason.
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
        """Every frame in presentation order, in one sequential decode; frames are converted only on request.

        Damaged packets are skipped, as by the ffmpeg program: compare the number of frames with
        `info.num_announced`.

        Args:
            threads: decoder threads; 0: one per core.
            skip: frames that the decoder skips.
            vectors: also export motion vectors (H.264 and MPEG-4 have them).

        Raises:
            BadVideo: the decoder gave up.
        """
        return pyav_backend.decode(self.info, threads, skip, vectors)

    def decode_ranges(
        self, ranges_s: Sequence[tuple[float, float]], *, threads: int = 0
    ) -> Iterator[list[DecodedFrame]]:
        """The frames of each range [start, stop), one seek per range; a range must start at a key frame. If
        the seek lands past a range, its list is empty."""
        return pyav_backend.decode_ranges(self.info, ranges_s, threads)

    def frames_played_at(
        self,
        times_s: Sequence[float],
        *,
        short_px: int,
        decoder: Decoder = "pyav",
        threads: int = 0,
    ) -> list[Frame]:
        """The frame that a player shows at each of these times, which may be in any order: the last frame
        that starts at or before the time, or the first one if none does. Damaged frames are skipped.

        Args:
            short_px: short side of the frames, scaled by area averaging, never enlarged.

        Raises:
            BadVideo: the decoder returns no frame for a wanted time.
            ValueError: a time is not a finite number.
        """
        if not np.isfinite(np.asarray(times_s, dtype=np.float64)).all():
            raise ValueError(f"times_s={list(times_s)}: a time is a number of seconds")
        wanted = sorted({float(t) for t in times_s})
        if decoder == "decord":
            # imported here because its libraries load slowly
            from data.video import decord_backend

            frames = decord_backend.frames_played_at(self.info, wanted, short_px, threads)
        else:
            frames = pyav_backend.frames_played_at(self.info, wanted, short_px, threads)
        by_time = dict(zip(wanted, frames, strict=True))
        return [by_time[float(t)] for t in times_s]
