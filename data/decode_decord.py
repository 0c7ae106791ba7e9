"""Decoding with decord (the maintained `decord2`), behind the same two functions.

decord numbers frames in presentation order, so its frame i is the packet scan's i-th time; where
the two disagree on how many frames there are, its own clock decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image

from data.video import BadVideo, Frame, VideoInfo, scaled_size

CHUNK = 16  # frames decoded at a time: bounds memory whatever the length of the video


def _open(info: VideoInfo, threads: int) -> tuple[object, np.ndarray]:
    import decord
    from decord import DECORDError

    if info.container == "mpegts":  # it starts at the second key frame and repeats the last frame
        raise BadVideo(
            "unreadable", f"{info.path}: decord misreads MPEG-TS; use frames.decoder=pyav"
        )
    try:
        reader = decord.VideoReader(info.path, ctx=decord.cpu(0), num_threads=threads)
        count = len(reader)
    except (DECORDError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else "cannot open"
        raise BadVideo(
            "unreadable", f"{info.path}: decord: {line}; try frames.decoder=pyav"
        ) from None
    if count == len(info.times_s):
        return reader, info.times_s
    # (N, 2) start and end of each frame, counted from the first frame
    stamps = np.asarray(reader.get_frame_timestamp(range(count)), dtype=np.float64)
    return reader, stamps[:, 0] - stamps[0, 0] + info.times_s[0]


def _batch(reader: object, indices: Sequence[int], info: VideoInfo) -> np.ndarray:
    from decord import DECORDError

    try:
        return reader.get_batch(list(indices)).asnumpy()  # type: ignore[attr-defined]
    except (DECORDError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise BadVideo("truncated", f"{info.path}: decord: {line}") from None


class DecordFrame:
    """See `data.video.Decoded`; decord has already turned and coloured the picture. Its own
    `Kept`: at its final size it is an array."""

    def __init__(self, time_s: float, picture: np.ndarray):
        self.time_s, self._picture = time_s, picture

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        small = cv2.resize(self._picture, (256, 144), interpolation=cv2.INTER_LINEAR)
        packed = cv2.cvtColor(small, cv2.COLOR_RGB2YUV_I420)  # (216, 256): y, then u, then v
        u, v = packed[144:].reshape(2, 72, 128)
        return packed[:144], u, v

    def keep(self, short_px: int) -> DecordKept:
        return DecordKept(_scaled(self._picture, short_px))

    def rgb(self, short_px: int) -> np.ndarray:
        height, width = self._picture.shape[:2]
        size = scaled_size(width, height, short_px=short_px)
        return cv2.resize(self._picture, size, interpolation=cv2.INTER_LINEAR)

    def motion(self) -> float | None:
        return None  # decord exports no motion vectors


class DecordKept:
    """See `data.video.Kept`."""

    def __init__(self, picture: np.ndarray):
        self.num_bytes, self._picture = picture.nbytes, picture

    def rgb(self) -> np.ndarray:
        return self._picture


def _scaled(rgb: np.ndarray, short_px: int) -> np.ndarray:
    size = scaled_size(rgb.shape[1], rgb.shape[0], short_px=short_px)
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def read(info: VideoInfo, threads: int) -> Iterator[DecordFrame]:
    """See `data.video.read`."""
    reader, times_s = _open(info, threads)
    for start in range(0, len(times_s), CHUNK):
        indices = range(start, min(start + CHUNK, len(times_s)))
        for i, rgb in zip(indices, _batch(reader, indices, info), strict=True):  # (n, H, W, 3)
            yield DecordFrame(float(times_s[i]), rgb)


def fetch(info: VideoInfo, times_s: Sequence[float], short_px: int, threads: int) -> list[Frame]:
    """See `data.video.fetch`."""
    reader, known_s = _open(info, threads)
    indices = [int(np.abs(known_s - t).argmin()) for t in times_s]
    frames = []
    for start in range(0, len(indices), CHUNK):
        chunk = indices[start : start + CHUNK]
        for i, rgb in zip(chunk, _batch(reader, chunk, info), strict=True):
            frames.append(Frame(float(known_s[i]), _scaled(rgb, short_px)))
    return frames
