"""Reads a sequence of image files as if they were the frames of a video."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data.media import FrameFiles
from data.video.info import MAX_PIXELS, BadVideo, VideoInfo, played_at, scaled_size
from data.video.pyav_backend import PyavFrame, Scalers


def probe(frames: FrameFiles) -> VideoInfo:
    """The `VideoInfo` of the image files; the size is that of the first readable one.

    Raises:
        BadVideo: none of the files can be read as a picture.
    """
    times_s = np.asarray(frames.times_s, dtype=np.float64)
    last_s = float(times_s[-1])
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    end_s = last_s + step_s if frames.duration_s is None else max(frames.duration_s, last_s)
    first = next(_readable(frames), None)
    if first is None:
        there = any(Path(p).is_file() for p in frames.paths)
        raise BadVideo(
            "unreadable" if there else "missing file",
            f"{frames.name}: none of its {len(frames.paths)} frame files "
            f"{'can be read' if there else 'is there'}",
        )
    return VideoInfo(
        path=frames.name,
        container="frames",
        codec="frames",
        width_px=first[1].width,
        height_px=first[1].height,
        rotation_deg=0,
        duration_s=end_s,
        shown_s=end_s,
        times_s=times_s,
        key_times_s=tuple(frames.times_s),
        num_announced=len(frames.paths),
    )


def read(frames: FrameFiles, info: VideoInfo) -> Iterator[PyavFrame]:
    """The readable pictures in order; unreadable files are skipped."""
    scalers = Scalers()
    for i, image in _readable(frames):
        frame = av.VideoFrame.from_image(image)
        yield PyavFrame(frame, frames.times_s[i], info, scalers)


def frames_played_at(
    frames: FrameFiles, times_s: Sequence[float], short_px: int
) -> list[np.ndarray]:
    """The picture shown at each of these times, (H, W, 3) uint8.

    Args:
        short_px: pictures are scaled down to it, never enlarged.

    Raises:
        BadVideo: a file that could be read before cannot be read any more.
    """
    found = []
    starts_s = np.asarray(frames.times_s)
    for time_s in times_s:
        image = _open(frames.paths[played_at(starts_s, time_s)])
        if image is None:
            raise BadVideo(
                "truncated", f"{frames.name}: the picture at {time_s} s can no longer be read"
            )
        size = scaled_size(image.width, image.height, short_px=short_px)
        found.append(
            np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BOX))
        )
    return found


def _readable(frames: FrameFiles) -> Iterator[tuple[int, Image.Image]]:
    """Position and picture of each file that can be read."""
    for i, path in enumerate(frames.paths):
        image = _open(path)
        if image is not None:
            yield i, image


def _open(path: str) -> Image.Image | None:
    """The picture, upright, as RGB; None if the file is missing, damaged, too large or not a picture."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
