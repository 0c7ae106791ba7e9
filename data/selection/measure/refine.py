"""After a decode of key frames only: replaces each chosen key frame by the clearest frame shortly after it.

A key frame is often the first frame of a shot, still blurred by a dissolve or a sudden movement.
"""

from __future__ import annotations

import math

import cv2

from data.sample import Selection
from data.selection.measure.signals import clearness_of, sharpness_of
from data.video.info import StoredPicture
from data.video.video import Video

REFINE_S = 0.4


def refine_key_frames(
    video: Video, chosen: Selection, *, short_px: int, threads: int, end_s: float = math.inf
) -> tuple[Selection, dict[float, StoredPicture]]:
    """The selection with times moved forward by less than `REFINE_S` and before `end_s`, and the pictures at
    the new times."""
    times_s: list[float] = []
    kept: dict[float, StoredPicture] = {}
    last_s = -1.0
    starts_s = chosen.times_s
    ranges_s = [
        (start_s, min(start_s + REFINE_S, next_s))
        for start_s, next_s in zip(starts_s, [*starts_s[1:], end_s], strict=True)
    ]
    spans = video.decode_ranges(ranges_s, threads=threads)
    for start_s, frames in zip(starts_s, spans, strict=True):
        best, best_clearness = None, -1.0
        first = None
        for frame in frames:
            luma = cv2.resize(frame.planes()[0], (64, 36), interpolation=cv2.INTER_LINEAR)
            if first is None:
                first = luma
            elif cv2.norm(luma, first, cv2.NORM_L1) / luma.size > 20:  # another shot already
                break
            clearness = float(clearness_of(sharpness_of(frame.planes()[0]), luma.std()))
            if frame.time_s > last_s and clearness > 1.05 * best_clearness:
                best, best_clearness = frame, clearness
        if best is None:  # no frame can be decoded here, or only one that is chosen already
            times_s.append(start_s)
            continue
        last_s = best.time_s
        times_s.append(best.time_s)
        kept[best.time_s] = best.keep(short_px)
    moved = Selection(tuple(times_s), chosen.reasons, chosen.ranks, chosen.duration_s)
    return moved, kept
