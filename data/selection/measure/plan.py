"""What a policy needs measured and kept, decided before the decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scenedetect.detector import SceneDetector

from data.selection.config import FrameKeys
from data.selection.measure.candidates import LIMIT_BYTES, Candidates
from data.selection.measure.scenedetect_feed import detector_for
from data.selection.policies.clock import CLOCK_POLICIES, by_clock, played_s
from data.video.info import VideoInfo, scaled_size

MOST_CANDIDATES = 4096  # where their pictures are compared
THUMB_BYTES = 96 * 2**20  # that these pictures may take
WINDOWS = 6  # per frame of the budget: how finely `scene` can place one
LEAST_WINDOW_S = 0.2


@dataclass(frozen=True)
class Looks:
    """What is measured beside the always: decided by the policy, before the decode."""

    candidates: Candidates
    detector: SceneDetector | None = None
    thumb_px: int | None = None
    encode: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    """(n pictures) → (n, D) unit vectors."""
    picture_px: int = 224
    """Short side of the RGB pictures that `encode` gets."""
    text: np.ndarray | None = None
    """(D,) unit vector of the query."""
    vectors: bool = False


def check(keys: FrameKeys) -> None:
    """Refuse, before any video, what would fail on every one of them.

    Raises:
        UserError: an encoder that cannot be loaded, a detector's parameter that it does not have.
    """
    detector_for(keys)
    if keys.policy in ("embedding", "query"):
        from data.selection.measure import encoders

        encoders.load(str(keys.encoder))
        if keys.policy == "query":
            encoders.query_vector(str(keys.encoder), str(keys.query))


def looks_for(keys: FrameKeys, info: VideoInfo, *, keep: bool = True) -> Looks:
    """The looks that `keys.policy` needs on this video; `keep`: and pictures of the candidates.

    Raises:
        UserError: the encoder cannot be loaded.
    """
    policy, length_s = keys.policy, float(played_s(info.times_s)[-1])
    keep_px = keys.px if keep else 0
    width, height = scaled_size(info.width_px, info.height_px, short_px=keys.px)
    room = max(1, LIMIT_BYTES // (width * height * 3 // 2))  # pictures, or a little less
    if policy in ("scene", "topn"):
        windows = min(WINDOWS * keys.max, room // 2)  # shots open windows of their own
        window_s = max(LEAST_WINDOW_S, length_s / max(windows, 2 * keys.max))
        if len(info.times_s) <= min(2 * keys.max, room // 2):  # so few that each may be wanted
            window_s = 0.0
        return Looks(Candidates("clearest", window_s=window_s, keep_px=keep_px))
    if policy in CLOCK_POLICIES:  # right if every frame decodes; else what is missing is fetched
        known_s = info.times_s[by_clock(info.times_s, info.shown_s, keys)]
        return Looks(Candidates("known", known_s=known_s, keep_px=keep_px))
    if policy in ("shots", "keyframes") or keys.method == "vectors":
        num_frames = len(info.key_times_s if policy == "keyframes" else info.times_s)
        return Looks(
            Candidates("all", keep_px=keep_px if num_frames <= room else 0),
            detector=detector_for(keys),
            vectors=keys.method == "vectors",
        )
    most = min(MOST_CANDIDATES, THUMB_BYTES // keys.size**2)
    step_s = max(1 / keys.rate, length_s / most)
    ticks = Candidates("ticks", window_s=step_s, keep_px=keep_px)
    if policy in ("embedding", "query"):
        from data.selection.measure import encoders  # torch and transformers: only where asked for

        encoder = encoders.load(str(keys.encoder))
        text = None
        if policy == "query":
            text = encoders.query_vector(str(keys.encoder), str(keys.query))
        return Looks(ticks, encode=encoder.images, picture_px=encoder.short_px, text=text)
    if policy == "kts":
        return Looks(ticks)
    return Looks(ticks, thumb_px=keys.size)
