"""Fetches frames with decord (the maintained fork `decord2`), through the same function as PyAV.

decord numbers frames in presentation order, so its frame i belongs to the i-th timestamp of the packet
scan. If the two frame counts differ (an edit list removes frames, the timestamps restart), decord's frame
numbers cannot be mapped to timestamps, and the file is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.errors import first_line
from data.video.info import BadVideo, Frame, VideoInfo, played_at, scaled_size, square_px

CHUNK = 16  # frames decoded at a time: bounds memory for videos of any length


def _open(info: VideoInfo, threads: int) -> object:
    """A decord reader of the file.

    Raises:
        BadVideo: decord cannot open it, or would return wrong frames for it.
    """
    import decord
    from decord import DECORDError

    if (
        info.container == "mpegts"
    ):  # decord skips to the second key frame and repeats the last frame
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
            f"{info.path}: decord counts {count} frames where {len(info.times_s)} are shown; "
            "use frames.decoder=pyav",
        )
    if info.hdr:
        raise BadVideo(
            "unreadable",
            f"{info.path}: decord returns HDR video as flat grey; use frames.decoder=pyav",
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
