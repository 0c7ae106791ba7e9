"""Measures everything a policy needs to know about a video, in one decode pass.

Measuring a frame must be cheap compared with decoding it. So the decoder's luma and chroma planes are read in
place, scaled once by point sampling, then halved repeatedly (2 × 2 averages are nearly free). A frame is
converted to RGB only if a policy needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from data.selection.measure.plan import MeasurementPlan
from data.selection.measure.scenedetect_feed import CutFinder
from data.video.info import SAME_S, BadVideo, DecodedFrame, Skip, VideoInfo, shapes_of

cv2.setNumThreads(1)  # the pictures are too small for threads, and each worker has one core

DETECTOR_PX = 144  # short side of frames for PySceneDetect's detectors, close to its own default
ENCODE_BATCH = 32  # pictures per call of the image encoder
NEARBY_S = 0.5  # longest gap that skipped non-reference frames may leave
FULL = 255 / 219  # factor from limited to full range
SMALL = (9, 16)  # rows and columns of the small picture that is kept of every frame


@dataclass(frozen=True)
class Signals:
    """Measurements of the N decoded frames, and of the C candidates among them."""

    times_s: np.ndarray
    """(N,) strictly increasing timestamps (PTS)."""
    luma: np.ndarray
    """(N,) mean brightness, 0 to 255."""
    contrast: np.ndarray
    """(N,) standard deviation of brightness."""
    sharpness: np.ndarray
    """(N,) Brenner's focus measure: mean squared difference of pixels two apart."""
    clearness: np.ndarray
    """(N,) sharpness relative to contrast: an over-exposed frame does not count as clearer."""
    change: np.ndarray
    """(N,) mean absolute difference to the frame before, luma at 64 × 36 plus both chroma; first 0."""
    small: np.ndarray
    """(N, 3, 9, 16) uint8: luma and two chroma planes, scaled by averaging."""
    key: np.ndarray
    """(N,) bool: an I-frame that decoding can start from."""
    duration_s: float
    """Duration as players show it, to which labels refer."""
    shown_s: float
    """End of the last frame, by its own duration: policies spread frames over this."""
    decoded_share: float
    """Frames decoded ÷ frames announced, at most 1; estimated if the decoder skipped frames."""
    sparse: bool
    """Only key frames were decoded: neighbours here are not neighbours in the video."""
    candidates: np.ndarray
    """(C,) increasing frame indices: the candidates of the policies that look at pictures."""
    thumbs: np.ndarray | None = None
    """(C, S, S) uint8 brightness of the candidates."""
    features: np.ndarray | None = None
    """(C, D) unit vectors of an image encoder."""
    relevance: np.ndarray | None = None
    """(C,) cosine of each candidate to the query text."""
    motion: np.ndarray | None = None
    """(N,) mean length of the codec's motion vectors ÷ width; 0 where a frame has none."""
    cuts_s: tuple[float, ...] = ()
    """Timestamp of the first frame after each cut of the PySceneDetect detector, if the plan has one."""

    def __repr__(self) -> str:
        return shapes_of(self)


def measure_signals(
    info: VideoInfo, frames: Iterable[DecodedFrame], plan: MeasurementPlan, *, skip: Skip = "none"
) -> Signals:
    """Measure every frame once. `skip`: which frames the decoder was told to skip.

    Raises:
        BadVideo: no frame was decoded, or the plan needs motion vectors and there are none.
    """
    room = len(info.times_s) + 1
    table = np.zeros((room, 6), np.float32)
    times_s = np.zeros(room)
    small = np.zeros((room, 3, *SMALL), np.uint8)
    finder = (
        CutFinder(plan.detector, len(info.times_s) / max(info.shown_s, 1e-3))
        if plan.detector is not None
        else None
    )
    thumbs: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    features: list[np.ndarray] = []

    def look_closer(settled: tuple[int, DecodedFrame] | None) -> None:
        if settled is None:
            return
        if plan.thumb_px is not None:
            thumbs.append(_thumb(settled[1].planes()[0], plan.thumb_px))
        if plan.encode is not None:
            pictures.append(settled[1].rgb(plan.picture_px))
            if len(pictures) == ENCODE_BATCH:
                features.append(plan.encode(pictures))
                pictures.clear()

    before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    recent = 0.0
    n = 0
    for frame in frames:
        if n == room:  # the packets announced fewer
            room *= 2
            table, times_s, small = (_grown(a, room) for a in (table, times_s, small))
        y, u, v = frame.planes()
        half = cv2.resize(y, (128, 72), interpolation=cv2.INTER_LINEAR)
        now = (
            cv2.resize(half, (64, 36), interpolation=cv2.INTER_AREA),
            cv2.resize(u, (32, 18), interpolation=cv2.INTER_LINEAR),
            cv2.resize(v, (32, 18), interpolation=cv2.INTER_LINEAR),
        )
        quarter = cv2.resize(now[0], (32, 18), interpolation=cv2.INTER_AREA)
        for plane, picture in enumerate((quarter, now[1], now[2])):
            cv2.resize(picture, SMALL[::-1], dst=small[n, plane], interpolation=cv2.INTER_AREA)
        mean, spread = cv2.meanStdDev(half)
        sharpness = sharpness_of(y)
        change = 0.0
        if before is not None:
            change = sum(
                cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in zip(now, before, strict=True)
            )
        before = now
        times_s[n] = frame.time_s
        row = table[n]
        row[0], row[1], row[2], row[3] = mean[0, 0], spread[0, 0], sharpness, change
        # a change far above the recent ones may be a cut: a new window of candidates starts here
        fresh = change > 3 * recent + 4
        recent = change if fresh else 0.7 * recent + 0.3 * change
        contrast = float(spread[0, 0])
        clear = sharpness / ((contrast * FULL) ** 2 + LIT**2) if contrast > 4 else 0.0
        look_closer(plan.candidates.update(n, frame, clear, fresh))
        if plan.vectors:
            length = frame.motion()
            row[4], row[5] = length or 0.0, length is not None
        if finder is not None:
            finder.update(frame.time_s, frame.rgb(DETECTOR_PX))
        n += 1
    if not n:
        raise BadVideo("no frames", f"{info.path}: no frame can be decoded")
    if plan.vectors and not table[:n, 5].any():
        raise BadVideo(
            "unreadable",
            f"{info.path}: no motion vectors in {info.codec} video; "
            "frames.method=vectors needs H.264 or MPEG-4, use method=ssim or flow",
        )
    look_closer(plan.candidates.close())
    if plan.encode is not None and pictures:
        features.append(plan.encode(pictures))
    encoded = np.concatenate(features) if features else None
    times_s = times_s[:n]
    key_s = np.asarray([t for t in info.key_times_s if t >= info.times_s[0] - SAME_S])
    key = _has_near(times_s, key_s, SAME_S)  # an edit list may discard key frames
    return Signals(
        times_s=times_s,
        luma=_full_range(table[:n, 0] - 16),
        contrast=_full_range(table[:n, 1]),
        sharpness=table[:n, 2],
        clearness=clearness_of(table[:n, 2], _full_range(table[:n, 1])),
        change=table[:n, 3],
        small=small[:n],
        key=key,
        duration_s=max(info.duration_s, float(times_s[-1])),
        shown_s=max(info.shown_s, float(times_s[-1])),
        decoded_share=_decoded_share(info, times_s, key_s, skip),
        sparse=skip == "nonkey",
        candidates=plan.candidates.indices,
        thumbs=np.stack(thumbs) if thumbs else None,
        features=encoded,
        relevance=encoded @ plan.text if encoded is not None and plan.text is not None else None,
        motion=table[:n, 4] if plan.vectors else None,
        cuts_s=tuple(finder.cuts_s()) if finder is not None else (),
    )


def sharpness_of(luma: np.ndarray) -> float:
    """Brenner's focus measure of a luma plane (H, W), on about 64 of its rows at full width, because blur
    affects the finest detail first."""
    rows = luma[:: max(1, luma.shape[0] // 64)]
    return cv2.norm(rows[:, 2:], rows[:, :-2], cv2.NORM_L2SQR) / rows.size


LIT = 20.0
"""Contrast (grey levels) at which the clearness is half of sharpness ÷ contrast²."""


def clearness_of(sharpness: np.ndarray | float, contrast: np.ndarray) -> np.ndarray:
    """Sharpness relative to contrast: twice the contrast alone makes Brenner's measure four times as large. A
    picture of low contrast, as within a fade, stays less clear."""
    return np.asarray(sharpness / (contrast**2 + LIT**2))


def _thumb(luma: np.ndarray, px: int) -> np.ndarray:
    """(H, W) → (px, px): point samples at twice the resolution, averaged."""
    fine = cv2.resize(luma, (2 * px, 2 * px), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(fine, (px, px), interpolation=cv2.INTER_AREA)


def _has_near(times_s: np.ndarray, wanted_s: np.ndarray, within_s: float) -> np.ndarray:
    """(N,) bool: whether each time has one of the sorted `wanted_s` closer than `within_s`."""
    if not len(wanted_s):
        return np.zeros(len(times_s), bool)
    right = np.searchsorted(wanted_s, times_s).clip(0, len(wanted_s) - 1)
    left = np.maximum(right - 1, 0)
    apart = np.minimum(np.abs(wanted_s[right] - times_s), np.abs(wanted_s[left] - times_s))
    return np.asarray(apart < within_s)


def _decoded_share(info: VideoInfo, times_s: np.ndarray, key_s: np.ndarray, skip: Skip) -> float:
    """Frames decoded ÷ frames announced. If the decoder skipped frames, an estimate: the share of announced
    frames with a decoded one nearby (`nonref`), or of key frames that were decoded (`nonkey`)."""
    if skip == "none":
        return min(1.0, len(times_s) / info.num_announced)
    if skip == "nonref":
        found = _has_near(info.times_s, times_s, NEARBY_S).mean()
    else:
        found = _has_near(key_s, times_s, SAME_S).mean() if len(key_s) else 1.0
    return float(found) * len(info.times_s) / info.num_announced


def _full_range(limited: np.ndarray) -> np.ndarray:
    """Brightness or contrast in limited range, black at 0 and white at 219 → 0 to 255, clipped."""
    return np.clip(limited * FULL, 0, 255)


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    """The array extended by zeros to `room` rows."""
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
