"""Measures everything a policy needs to know about a video, in one decode pass.

Measuring a frame must be cheap compared with decoding it. So the decoder's luma and chroma planes are read in
place, scaled once by point sampling, then halved repeatedly (2 × 2 averages are nearly free). A frame is
converted to RGB only if a policy needs it.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from data.selection.measure.plan import MeasurementPlan
from data.selection.measure.scenedetect_feed import CutFinder
from data.selection.measure.signals import LIT, SMALL, Signals, clearness_of, sharpness_of
from data.video.info import SAME_S, BadVideo, DecodedFrame, Skip, VideoInfo

DETECTOR_PX = 144  # short side of frames for shot detectors, close to PySceneDetect's own default
ENCODE_BATCH = 32  # pictures per call of the image encoder
NEARBY_S = 0.5  # longest gap that skipped non-reference frames may leave
FULL = 255 / 219  # factor from limited to full range
COLUMNS = 6
"""Of the table: brightness, contrast, sharpness, change, motion, whether the motion was measured."""


def measure_signals(
    info: VideoInfo, frames: Iterable[DecodedFrame], plan: MeasurementPlan, *, skip: Skip = "none"
) -> Signals:
    """Measure every frame once. `skip`: which frames the decoder was told to skip.

    Raises:
        BadVideo: no frame was decoded, or the plan needs motion vectors and there are none.
    """
    meter = Meter(info, plan, skip=skip, room=len(info.times_s) + 1)
    for frame in frames:
        meter.add(frame)
    meter.close()
    return meter.signals()


class Meter:
    """Measures frames as they are decoded. A long video's measurements are taken away part by part, so that
    memory holds those of one part.

    Args:
        skip: which frames the decoder was told to skip.
        room: number of frames that are expected at a time.
    """

    def __init__(self, info: VideoInfo, plan: MeasurementPlan, *, skip: Skip, room: int):
        self._info, self._plan, self._skip = info, plan, skip
        # an edit list may discard key frames
        self._key_s = np.asarray([t for t in info.key_times_s if t >= info.times_s[0] - SAME_S])
        self._table = np.zeros((room, COLUMNS), np.float32)
        self._times_s = np.zeros(room)
        self._small = np.zeros((room, 3, *SMALL), np.uint8)
        self._num_decoded = 0
        self._decoded_s: list[float] = []
        self._finder = (
            CutFinder(plan.detector, len(info.times_s) / max(info.shown_s, 1e-3))
            if plan.detector is not None
            else None
        )
        self._cuts_s: list[float] = []
        self._thumbs: list[np.ndarray] = []
        self._pictures: list[np.ndarray] = []
        self._features: list[np.ndarray] = []
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._recent = 0.0
        self._motion_seen = False
        self.count = 0
        """Frames that are held."""

    @property
    def times_s(self) -> np.ndarray:
        """(N,) timestamps of the frames that are held."""
        return self._times_s[: self.count]

    @property
    def last_s(self) -> float:
        """Time of the last frame."""
        return float(self._times_s[self.count - 1]) if self.count else 0.0

    def add(self, frame: DecodedFrame) -> None:
        """Measure the next frame."""
        n = self.count
        if n == len(self._times_s):  # the packets announced fewer
            self._grow(2 * n)
        y, u, v = frame.planes()
        half = cv2.resize(y, (128, 72), interpolation=cv2.INTER_LINEAR)
        now = (
            cv2.resize(half, (64, 36), interpolation=cv2.INTER_AREA),
            cv2.resize(u, (32, 18), interpolation=cv2.INTER_LINEAR),
            cv2.resize(v, (32, 18), interpolation=cv2.INTER_LINEAR),
        )
        quarter = cv2.resize(now[0], (32, 18), interpolation=cv2.INTER_AREA)
        for plane, picture in enumerate((quarter, now[1], now[2])):
            cv2.resize(
                picture, SMALL[::-1], dst=self._small[n, plane], interpolation=cv2.INTER_AREA
            )
        mean, spread = cv2.meanStdDev(half)
        sharpness = sharpness_of(y)
        change = 0.0
        if self._before is not None:
            change = sum(
                cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in zip(now, self._before, strict=True)
            )
        self._before = now
        self._times_s[n] = frame.time_s
        row = self._table[n]
        row[0], row[1], row[2], row[3] = mean[0, 0], spread[0, 0], sharpness, change
        # a change far above the recent ones may be a cut: a new window of candidates starts here
        fresh = change > 3 * self._recent + 4
        self._recent = change if fresh else 0.7 * self._recent + 0.3 * change
        contrast = float(spread[0, 0])
        clear = sharpness / ((contrast * FULL) ** 2 + LIT**2) if contrast > 4 else 0.0
        self._look_closer(self._plan.candidates.update(n, frame, clear, fresh))
        if self._plan.vectors:
            length = frame.motion()
            row[4], row[5] = length or 0.0, length is not None
        if self._finder is not None:
            self._finder.update(frame.time_s, frame.rgb(DETECTOR_PX))
        if self._plan.transnet is not None:
            self._plan.transnet.update(frame.rgb(DETECTOR_PX))
        self.count += 1
        self._num_decoded += 1
        if self._skip != "none":
            self._decoded_s.append(frame.time_s)

    def close(self) -> None:
        """The last frame was added.

        Raises:
            BadVideo: there was none.
        """
        if not self._num_decoded:
            raise BadVideo("no frames", f"{self._info.path}: no frame can be decoded")
        self._look_closer(self._plan.candidates.close())
        if self._finder is not None:
            self._cuts_s = self._finder.cuts_s()

    def signals(
        self, count: int | None = None, part_s: tuple[float, float] | None = None
    ) -> Signals:
        """The measurements of the first `count` frames (None: of all that are held). They are views, valid until
        the next frame is added or others are dropped.

        Args:
            part_s: start and end of the part of the video that these frames show: times then count from its
                start, and it is the whole duration. None: they show the whole video.

        Raises:
            BadVideo: the plan needs motion vectors and there are none.
        """
        info, plan, n = self._info, self._plan, self.count if count is None else count
        times_s, table = self._times_s[:n], self._table[:n]
        self._motion_seen = self._motion_seen or bool(table[:, 5].any())
        if plan.vectors and not self._motion_seen:
            raise BadVideo(
                "unreadable",
                f"{info.path}: no motion vectors in {info.codec} video; "
                "frames.method=vectors needs H.264 or MPEG-4, use method=ssim or flow",
            )
        if plan.encode is not None and self._pictures:
            self._features.append(plan.encode(self._pictures))
            self._pictures = []
        candidates = plan.candidates.indices
        candidates = candidates[candidates < n]
        features = np.concatenate(self._features)[: len(candidates)] if self._features else None
        start_s = part_s[0] if part_s else 0.0
        ends_s = (part_s[1], part_s[1]) if part_s else (info.duration_s, info.shown_s)
        last_s = float(times_s[-1])
        cuts_s = self._cuts_s or (self._finder.found_s() if self._finder is not None else [])
        return Signals(
            times_s=times_s - start_s,
            luma=_full_range(table[:, 0] - 16),
            contrast=_full_range(table[:, 1]),
            sharpness=table[:, 2],
            clearness=clearness_of(table[:, 2], _full_range(table[:, 1])),
            change=table[:, 3],
            small=self._small[:n],
            key=_has_near(times_s, self._key_s, SAME_S),
            duration_s=max(ends_s[0], last_s) - start_s,
            shown_s=max(ends_s[1], last_s) - start_s,
            decoded_share=self.decoded_share(),
            sparse=self._skip == "nonkey",
            candidates=candidates,
            thumbs=np.stack(self._thumbs[: len(candidates)]) if self._thumbs else None,
            features=features,
            relevance=features @ plan.text
            if features is not None and plan.text is not None
            else None,
            motion=table[:, 4] if plan.vectors else None,
            transnet=plan.transnet.scores()[:n] if plan.transnet is not None else None,
            cuts_s=tuple(c - start_s for c in cuts_s if times_s[0] < c <= last_s),
        )

    def drop(self, count: int) -> None:
        """Forget the first `count` frames. Call `signals` before."""
        if not count:
            return
        self._look_closer(self._plan.candidates.settle_before(count))
        gone = int((self._plan.candidates.indices < count).sum())
        self._plan.candidates.drop(count, float(self._times_s[count - 1]))
        if self._plan.transnet is not None:
            self._plan.transnet.drop(count)
        left = self.count - count
        for array in (self._times_s, self._table, self._small):
            array[:left] = array[count : self.count].copy()
        self.count = left
        self._thumbs = self._thumbs[gone:]
        if self._features:
            self._features = [np.concatenate(self._features)[gone:]]
        self._features = [f for f in self._features if len(f)]

    def decoded_share(self) -> float:
        """Frames decoded ÷ frames announced, at most 1. If the decoder skipped frames, an estimate: the share
        of announced frames with a decoded one nearby (`nonref`), or of key frames that were decoded."""
        info, key_s = self._info, self._key_s
        if self._skip == "none":
            return min(1.0, self._num_decoded / info.num_announced)
        decoded_s = np.asarray(self._decoded_s)
        if self._skip == "nonref":
            found = _has_near(info.times_s, decoded_s, NEARBY_S).mean()
        else:
            found = _has_near(key_s, decoded_s, SAME_S).mean() if len(key_s) else 1.0
        return float(found) * len(info.times_s) / info.num_announced

    def _look_closer(self, settled: tuple[int, DecodedFrame] | None) -> None:
        if settled is None:
            return
        plan = self._plan
        if plan.thumb_px is not None:
            self._thumbs.append(_thumb(settled[1].planes()[0], plan.thumb_px))
        if plan.encode is not None:
            self._pictures.append(settled[1].rgb(plan.picture_px))
            if len(self._pictures) == ENCODE_BATCH:
                self._features.append(plan.encode(self._pictures))
                self._pictures = []

    def _grow(self, room: int) -> None:
        """Room for `room` frames."""
        self._table, self._times_s, self._small = (
            np.concatenate([a, np.zeros((room - len(a), *a.shape[1:]), a.dtype)])
            for a in (self._table, self._times_s, self._small)
        )


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


def _full_range(limited: np.ndarray) -> np.ndarray:
    """Brightness or contrast in limited range, black at 0 and white at 219 → 0 to 255, clipped."""
    return np.clip(limited * FULL, 0, 255)
