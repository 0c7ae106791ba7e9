"""Decoding with decord (the maintained `decord2`), behind the same two functions.

decord numbers frames in presentation order, so its frame i is the packet scan's i-th time; where
the two disagree on how many frames there are, its own clock decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from data.video import BadVideo, Frame, VideoInfo

CHUNK = 16  # frames decoded at a time: bounds memory whatever the length of the video


def _open(info: VideoInfo) -> tuple[object, np.ndarray]:
    import decord
    from decord import DECORDError

    if info.container == "mpegts":  # it starts at the second key frame and repeats the last frame
        raise BadVideo(
            "unreadable", f"{info.path}: decord misreads MPEG-TS; use frames.decoder=pyav"
        )
    try:
        reader = decord.VideoReader(info.path, ctx=decord.cpu(0), num_threads=0)
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


def _resized(rgb: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size, how))


def read(info: VideoInfo, size: tuple[int, int]) -> Iterator[Frame]:
    """See `data.video.read`; decord has already turned the picture upright."""
    reader, times_s = _open(info)
    for start in range(0, len(times_s), CHUNK):
        indices = range(start, min(start + CHUNK, len(times_s)))
        for i, rgb in zip(indices, _batch(reader, indices, info), strict=True):  # (n, H, W, 3)
            yield Frame(float(times_s[i]), _resized(rgb, size, Image.Resampling.BILINEAR))


def fetch(info: VideoInfo, times_s: Sequence[float], size: tuple[int, int]) -> list[Frame]:
    """See `data.video.fetch`."""
    reader, known_s = _open(info)
    indices = [int(np.abs(known_s - t).argmin()) for t in times_s]
    frames = []
    for start in range(0, len(indices), CHUNK):
        chunk = indices[start : start + CHUNK]
        for i, rgb in zip(chunk, _batch(reader, chunk, info), strict=True):
            frames.append(Frame(float(known_s[i]), _resized(rgb, size, Image.Resampling.BOX)))
    return frames
