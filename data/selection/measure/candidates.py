"""Collects the candidates: the frames a policy may choose, kept at their final size during the decode pass.

A video has more frames than fit in memory, so candidates are selected while it is decoded: the clearest frame
of each short window, one at each tick, those at times known beforehand, or all. Above the memory limit every
second kept picture is dropped; a chosen frame whose picture was dropped is decoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from data.video.info import SAME_S, DecodedFrame, StoredPicture

LIMIT_BYTES = 160 * 2**20
Mode = Literal["clearest", "ticks", "known", "all"]


class Candidates:
    """Collects candidates.

    Args:
        window_s: length of a window (mode `clearest`) or step between ticks (mode `ticks`).
        known_s: the wanted times of mode `known`.
        keep_px: short side of kept pictures; 0 keeps none.
        limit_bytes: memory limit of the kept pictures.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        window_s: float = 0.0,
        known_s: Sequence[float] = (),
        keep_px: int = 0,
        limit_bytes: int = LIMIT_BYTES,
    ):
        self._mode, self._window_s, self._keep_px = mode, window_s, keep_px
        self._known_s = np.asarray(known_s, dtype=np.float64)
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._indices: list[int] = []
        self._best: tuple[float, int, DecodedFrame] | None = None
        self._window_end_s = -np.inf
        self.kept: dict[float, StoredPicture] = {}

    def update(
        self, index: int, frame: DecodedFrame, clearness: float, fresh: bool
    ) -> tuple[int, DecodedFrame] | None:
        """Add the next frame. `fresh`: it looks like the first frame of a new shot.

        Returns the (index, frame) that becomes a candidate now, this frame or an earlier one, or None.
        """
        settled = None
        if self._mode == "clearest":
            if fresh or frame.time_s >= self._window_end_s:
                settled = self.close()
                self._window_end_s = frame.time_s + self._window_s
            if self._best is None or clearness > self._best[0]:
                self._best = (clearness, index, frame)
        elif self._mode == "ticks":
            if frame.time_s >= self._window_end_s - SAME_S:
                settled = self._take(index, frame)
                ticks = int((frame.time_s + SAME_S) / self._window_s) + 1 if self._window_s else 0
                self._window_end_s = ticks * self._window_s
        elif self._mode == "all" or np.abs(self._known_s - frame.time_s).min(initial=1.0) < SAME_S:
            settled = self._take(index, frame)
        return settled

    def close(self) -> tuple[int, DecodedFrame] | None:
        """End the current window; returns its candidate, or None if no window is open."""
        best, self._best = self._best, None
        return self._take(*best[1:]) if best is not None else None

    def settle_before(self, count: int) -> tuple[int, DecodedFrame] | None:
        """End the current window if its candidate is one of the first `count` frames, as `close` does."""
        return self.close() if self._best is not None and self._best[1] < count else None

    def drop(self, count: int, last_s: float) -> None:
        """Forget the first `count` frames, of which the last is at `last_s`; later ones are renumbered."""
        self._indices = [i - count for i in self._indices if i >= count]
        if self._best is not None:
            clearness, index, frame = self._best
            self._best = (clearness, index - count, frame)
        for time_s in [t for t in self.kept if t <= last_s]:
            self._bytes -= self.kept.pop(time_s).num_bytes

    @property
    def indices(self) -> np.ndarray:
        """(C,) frame indices of the candidates so far."""
        return np.asarray(self._indices, dtype=np.int64)

    def _take(self, index: int, frame: DecodedFrame) -> tuple[int, DecodedFrame]:
        """Make a frame a candidate and keep its picture."""
        self._indices.append(index)
        if self._keep_px:
            kept = frame.keep(self._keep_px)
            self.kept[frame.time_s] = kept
            self._bytes += kept.num_bytes
            if self._bytes > self._limit_bytes:
                for time_s in list(self.kept)[1::2]:
                    self._bytes -= self.kept.pop(time_s).num_bytes
        return index, frame
