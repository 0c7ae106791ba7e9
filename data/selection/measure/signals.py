"""Everything a policy may ask about a video, measured in one decode pass.

Looking at a frame must cost little beside decoding it. So luma and chroma are read where the
decoder left them, scaled once by point samples and then halved again and again (2 × 2 averages are
nearly free), and nothing is turned into RGB unless a policy asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from data.selection.measure.plan import MeasurementPlan
from data.selection.measure.scenedetect_feed import CutFinder
from data.video.info import SAME_S, BadVideo, DecodedFrame, Skip, VideoInfo, shapes_of

cv2.setNumThreads(1)  # pictures here are too small to share, and workers have a core each

DETECTOR_PX = 144  # short side of what PySceneDetect's detectors see: its own choice is near
ENCODE_BATCH = 32
NEARBY_S = 0.5  # no run of frames that may be left out is longer
FULL = 255 / 219  # limited range to full
SMALL = (9, 16)  # rows and columns of the picture that is kept of every frame


@dataclass(frozen=True)
class Signals:
    """Measures of the N frames that really decoded, and of the C candidates among them."""

    times_s: np.ndarray
    """(N,) strictly increasing presentation times."""
    luma: np.ndarray
    """(N,) mean brightness, 0 to 255."""
    contrast: np.ndarray
    """(N,) standard deviation of brightness."""
    sharpness: np.ndarray
    """(N,) Brenner's focus measure: mean squared difference of pixels two apart."""
    clearness: np.ndarray
    """(N,) the same for the contrast there is: over-exposed is not clearer, out of a fade is."""
    change: np.ndarray
    """(N,) mean absolute difference to the frame before, luma at 64 × 36 plus both chroma; first 0."""
    small: np.ndarray
    """(N, 3, 9, 16) uint8: luma and two chroma planes, averaged."""
    key: np.ndarray
    """(N,) bool: an I-frame that decoding can start from."""
    duration_s: float
    """As players show it, by which labels are made."""
    shown_s: float
    """When the last picture ends by its own length: over this, policies spread frames."""
    decoded_share: float
    """Frames decoded ÷ frames announced, at most 1; estimated where frames were left out."""
    sparse: bool
    """Only key frames were decoded: what is next to each other here is not in the video."""
    candidates: np.ndarray
    """(C,) increasing frame indices that policies choose from which look at pictures."""
    thumbs: np.ndarray | None = None
    """(C, S, S) uint8 brightness of the candidates."""
    features: np.ndarray | None = None
    """(C, D) unit vectors of an image encoder."""
    relevance: np.ndarray | None = None
    """(C,) cosine of each candidate to the query text."""
    motion: np.ndarray | None = None
    """(N,) mean length of the codec's motion vectors ÷ width; 0 where a frame has none."""
    cuts_s: tuple[float, ...] = ()
    """First frame after each cut, by the PySceneDetect detector that was fed."""

    def __repr__(self) -> str:
        return shapes_of(self)


def measure_signals(
    info: VideoInfo, frames: Iterable[DecodedFrame], plan: MeasurementPlan, *, skip: Skip = "none"
) -> Signals:
    """Look at every frame once. `skip`: what the decoder was told to leave out.

    Raises:
        BadVideo: not one frame decoded.
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
        # a jump well above what was going on may be a cut: no window of candidates spans it
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
            f"{info.path}: {info.codec} gives no motion vectors; "
            "frames.method=vectors needs H.264 or MPEG-4, use method=ssim or flow",
        )
    look_closer(plan.candidates.close())
    if plan.encode is not None and pictures:
        features.append(plan.encode(pictures))
    encoded = np.concatenate(features) if features else None
    times_s = times_s[:n]
    key_s = np.asarray([t for t in info.key_times_s if t >= info.times_s[0] - SAME_S])
    key = _shown(times_s, key_s, SAME_S)  # an edit list may cut key frames away
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
    """Brenner's focus measure of a luma plane (H, W), on about 64 of its rows at full width: blur
    shows first in the finest detail."""
    rows = luma[:: max(1, luma.shape[0] // 64)]
    return cv2.norm(rows[:, 2:], rows[:, :-2], cv2.NORM_L2SQR) / rows.size


LIT = 20.0
"""Contrast (grey levels) at which a picture shows half of the clearness it could."""


def clearness_of(sharpness: np.ndarray | float, contrast: np.ndarray) -> np.ndarray:
    """Sharpness of what is in the picture: twice the contrast alone makes edges four times as strong."""
    return np.asarray(sharpness / (contrast**2 + LIT**2))


def _thumb(luma: np.ndarray, px: int) -> np.ndarray:
    """(H, W) → (px, px): point samples twice as fine, averaged."""
    fine = cv2.resize(luma, (2 * px, 2 * px), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(fine, (px, px), interpolation=cv2.INTER_AREA)


def _shown(times_s: np.ndarray, wanted_s: np.ndarray, within_s: float) -> np.ndarray:
    """(N,) bool: which of the sorted times have a wanted one within reach."""
    if not len(wanted_s):
        return np.zeros(len(times_s), bool)
    right = np.searchsorted(wanted_s, times_s).clip(0, len(wanted_s) - 1)
    left = np.maximum(right - 1, 0)
    apart = np.minimum(np.abs(wanted_s[right] - times_s), np.abs(wanted_s[left] - times_s))
    return np.asarray(apart < within_s)


def _decoded_share(info: VideoInfo, times_s: np.ndarray, key_s: np.ndarray, skip: Skip) -> float:
    """Frames that came ÷ frames announced. Where frames were left out: announced ones with a
    decoded one nearby, or key frames that came."""
    if skip == "none":
        return min(1.0, len(times_s) / info.num_announced)
    if skip == "nonref":
        found = _shown(info.times_s, times_s, NEARBY_S).mean()
    else:
        found = _shown(key_s, times_s, SAME_S).mean() if len(key_s) else 1.0
    return float(found) * len(info.times_s) / info.num_announced


def _full_range(limited: np.ndarray) -> np.ndarray:
    """Video luma of 16 to 235 → 0 to 255; what lies outside is cut off."""
    return np.clip(limited * FULL, 0, 255)


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
