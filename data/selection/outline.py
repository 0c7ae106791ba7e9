"""A subject outlined on the frames that show it: a thin line outside of its box."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from data.regions import Box, Track, marks_of
from data.selection.chosen_frames import ChosenFrames, jpeg_of
from data.selection.config import FrameKeys
from data.selection.grids import is_whole

THIN = 0.012
"""Width of the line as a share of the picture's short side, and no less than two pixels."""


def outlined(chosen: ChosenFrames, track: Track, keys: FrameKeys) -> ChosenFrames:
    """The frames with the subject outlined, as `frames.outline` and `frames.outlined` say. Quarters of frames and small
    frames stay as they are."""
    whole = [i for i, reason in enumerate(chosen.reasons) if is_whole(reason)]
    times_s = [chosen.times_s[i] for i in whole]
    boxes = marks_of(track, times_s, first_only=keys.outlined == "first")
    jpegs = list(chosen.jpegs)
    for i, box in zip(whole, boxes, strict=True):
        if box is not None:
            jpegs[i] = with_outline(jpegs[i], box, keys.outline)
    return replace(chosen, jpegs=tuple(jpegs))


def with_outline(jpeg: bytes, box: Box, colour: str) -> bytes:
    """The picture with a line around the box; at the picture's edge it lies within."""
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    width, height = picture.size
    line = max(2, round(THIN * min(width, height)))
    x1, y1, x2, y2 = (edge * side for edge, side in zip(box, (width, height) * 2, strict=True))
    left, top = max(0, round(x1) - line), max(0, round(y1) - line)
    right, bottom = min(width, round(x2) + line), min(height, round(y2) + line)
    # a box as large as the picture still gets its line
    corners = (left, top, max(right, left + 2 * line) - 1, max(bottom, top + 2 * line) - 1)
    ImageDraw.Draw(picture).rectangle(corners, outline=ImageColor.getrgb(colour), width=line)
    return jpeg_of(np.asarray(picture))
