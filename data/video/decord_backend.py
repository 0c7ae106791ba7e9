"""Fetching with decord (the maintained `decord2`), behind the same function as PyAV.

decord numbers frames in presentation order, so its frame i is the packet scan's i-th time. Where the two
disagree on how many frames there are (an edit list cuts some away, the clock starts again), no number
of its can be trusted to mean the same picture, and the file is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.errors import first_line
from data.video.info import BadVideo, Frame, VideoInfo, played_at, scaled_size, square_px

CHUNK = 16  # frames decoded at a time: bounds memory whatever the length of the video


def _open(info: VideoInfo, threads: int) -> object:
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
        raise BadVideo(
            "unreadable", f"{info.path}: decord: {first_line(error)}; try frames.decoder=pyav"
        ) from None
    if count != len(info.times_s) or info.restarts:
        raise BadVideo(
            "unreadable",
            f"{info.path}: decord counts {count} frames where {len(info.times_s)} are shown; use frames.decoder=pyav",
        )
    if info.hdr:
        raise BadVideo(
            "unreadable", f"{info.path}: HDR, which decord gives as grey; use frames.decoder=pyav"
        )
    return reader


def _batch(reader: object, indices: Sequence[int], info: VideoInfo) -> np.ndarray:
    from decord import DECORDError

    try:
        return reader.get_batch(list(indices)).asnumpy()  # type: ignore[attr-defined]
    except (DECORDError, RuntimeError) as error:
        raise BadVideo("truncated", f"{info.path}: decord: {first_line(error)}") from None


def _scaled(rgb: np.ndarray, stretch: float, short_px: int) -> np.ndarray:
    size = scaled_size(square_px(rgb.shape[1], stretch), rgb.shape[0], short_px=short_px)
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def frames_played_at(
    info: VideoInfo, times_s: Sequence[float], short_px: int, threads: int
) -> list[Frame]:
    """See `Video.frames_played_at`."""
    reader = _open(info, threads)
    indices = [played_at(info.times_s, t) for t in times_s]
    frames = []
    for start in range(0, len(indices), CHUNK):
        chunk = indices[start : start + CHUNK]
        for i, rgb in zip(chunk, _batch(reader, chunk, info), strict=True):
            frames.append(Frame(float(info.times_s[i]), _scaled(rgb, info.stretch, short_px)))
    return frames
