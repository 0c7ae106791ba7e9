"""Tests which codecs this machine's decoders decode, by encoding a short clip of each and reading it back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
from av.error import FFmpegError

from data.video.info import BadVideo, Decoder
from data.video.video import Video

ENCODERS = {
    "h264": ("libx264", "libopenh264"),
    "hevc": ("libx265",),
    "vp9": ("libvpx-vp9",),
    "av1": ("libaom-av1", "libsvtav1"),
    "mpeg4": ("mpeg4",),
}
"""Codec → FFmpeg encoders to try, in order of preference."""
FRAMES, FPS = 12, 12
QUICK_AND_QUIET = {"cpu-used": "8", "x265-params": "log-level=none"}


def decodable(work: Path) -> dict[str, dict[Decoder, bool] | None]:
    """Codec → decoder → whether it decodes the test clip; None for a codec without an encoder here."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 logs all its settings by default
    found: dict[str, dict[Decoder, bool] | None] = {}
    for codec, encoders in ENCODERS.items():
        path = work / f"{codec}.mkv"
        made = next((e for e in encoders if _clip(path, e)), None)
        found[codec] = {d: _reads(path, d) for d in get_args(Decoder)} if made else None
    return found


def _clip(path: Path, encoder: str) -> bool:
    """Write the test clip: frame i has grey level 20 · i. False if the encoder is missing or fails."""
    try:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(encoder, rate=FPS)
            stream.options = QUICK_AND_QUIET
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            for i in range(FRAMES):
                picture = np.full((96, 128, 3), 20 * i, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    except (FFmpegError, ValueError):
        return False
    return True


def _reads(path: Path, decoder: Decoder) -> bool:
    """Whether the frame at 0.5 s decodes to the grey level that `_clip` gave frame 6."""
    try:
        (frame,) = Video(str(path)).frames_played_at([0.5], short_px=96, decoder=decoder)
    except (BadVideo, ImportError, RuntimeError):
        return False
    return abs(float(frame.rgb.mean()) - 20 * 6) < 12
