"""Training videos for shot boundaries: takes cut together, with exact labels, as the selector would see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.bench.synthetic_clips import segment
from data.selection.measure.shots import runs
from train.selector.joins import KINDS, Kind, disturb, join
from train.selector.takes import BLACK, HEIGHT, WIDTH, Roll, slide, small_of, take, texture

RATES = (3, 5, 8, 10, 12, 15, 20, 24, 25, 25, 25, 30, 30, 30, 50, 60)
"""Frames per second, drawn from."""
TAKES = 10  # of a roll
TAKE_S, LEAST, MOST = 6.0, 60, 200  # length of a take: seconds, frames
STORIES = 0.15  # share of rolls that show the synthetic videos' own scenes
LONGEST = 60  # frames of a gradual transition
GRADUAL_S = {"dissolve": (0.12, 2.2), "fade": (0.3, 3.0), "wipe": (0.1, 1.1), "push": (0.1, 1.1)}


@dataclass(frozen=True)
class Rendered:
    """A training video."""

    small: np.ndarray
    """(N, 3, 9, 16) uint8."""
    times_s: np.ndarray
    """(N,)."""
    first: np.ndarray
    """(N,) how much a frame is the first of a new shot after a cut; two frames share a cut that is mixed."""
    within: np.ndarray
    """(N,) whether a frame is within a gradual transition."""

    def middle(self) -> np.ndarray:
        """(N,) 1 in the middle of a gradual transition, falling to 0 at its ends."""
        found = np.zeros(len(self.within), np.float32)
        for start, stop in runs(self.within > 0):
            if start > 0 and stop < len(found):
                width = max(0.5, (stop - start) / 8)
                at = (np.arange(start, stop) - (start + stop - 1) / 2) / width
                found[start:stop] = np.exp(-0.5 * at**2)
        return found


def roll(seed: int, number: int) -> Roll:
    """The takes of one roll: of many places, of one place, slides, still pictures, or the synthetic videos' own
    scenes."""
    rng = np.random.default_rng([seed, number])
    fps = float(rng.choice(RATES))
    count = min(MOST, max(LEAST, int(TAKE_S * fps)))
    kind = rng.random()
    if kind < STORIES:
        fps = 25.0
        shown = [segment(MOST, rng, [], False, "")[0] for _ in range(TAKES)]
        scaled = [
            np.stack([cv2.resize(p, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for p in s])
            for s in shown
        ]
        takes = [small_of(s) for s in scaled]
    elif kind < STORIES + 0.06:
        dark = rng.random() < 0.4
        takes = [slide(rng, count, dark) for _ in range(TAKES)]
    elif kind < STORIES + 0.1:
        takes = [take(rng, count, 1 / fps, still=True) for _ in range(TAKES)]
    else:
        place = texture(rng, 3 * HEIGHT, 3 * WIDTH) if rng.random() < 0.25 else None
        takes = [
            take(rng, count, 1 / fps, place if rng.random() < 0.8 else None) for _ in range(TAKES)
        ]
    return Roll(fps, tuple(one.astype(np.float16) for one in takes))


def rendered(rng: np.random.Generator, source: Roll, count: int) -> Rendered:
    """A video of `count` frames, cut together from takes of a roll."""
    step_s = 1 / source.fps
    pictures, first, within = _edit(rng, source, count)
    if rng.random() < 0.06:  # it begins in black: no shot was there before
        length = int(min(count // 3, max(2, rng.uniform(0.3, 2) / step_s)))
        dark = int(rng.integers(0, length))
        weight = np.clip((np.arange(length) - dark) / max(1, length - dark), 0, 1)
        pictures[:length] = BLACK + (pictures[:length] - BLACK) * weight[:, None, None, None]
    pictures = _as_filmed(rng, pictures)
    times_s = np.arange(count) * step_s
    if rng.random() < 0.15:  # a variable frame rate
        steps = np.repeat(rng.choice([0.5, 1, 1, 2, 3], count // 8 + 1), 8)[:count]
        times_s = np.cumsum(steps) * step_s
    small = np.clip(np.round(pictures), 0, 255).astype(np.uint8)
    return _repeated(rng, Rendered(small, times_s, first, within))


def _edit(
    rng: np.random.Generator, source: Roll, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(count, 3, 9, 16) pictures, and (count,) each: first frames of new shots, frames within transitions."""
    mean_s = np.exp(rng.uniform(np.log(0.4), np.log(8)))
    style = rng.random()
    shares = rng.dirichlet([2, 1, 0.6, 0.15, 0.08])
    if style > 0.9:
        shares = np.array([0.2, 0.5, 0.2, 0.05, 0.05])
    elif style > 0.75:
        shares = np.array([1.0, 0, 0, 0, 0])
    grey = np.array([rng.uniform(60, 170), 128, 128], np.float32)[:, None, None]
    alike = rng.uniform(0.2, 0.6) if rng.random() < 0.2 else 0.0  # one place, one light
    pictures: list[np.ndarray] = []
    first: list[np.ndarray] = []
    within: list[np.ndarray] = []
    tail: np.ndarray | None = None
    kind: Kind = "cut"
    number, held = -1, 0
    while held < count:
        number = (number + int(rng.integers(1, len(source.takes)))) % len(source.takes)
        following = KINDS[int(rng.choice(len(KINDS), p=shares))]
        after = 0
        if following != "cut":
            after = min(LONGEST, round(rng.uniform(*GRADUAL_S[following]) * source.fps))
            following, after = ("cut", 0) if after < 2 else (following, after)
        before = 0 if tail is None else len(tail)
        body = min(600, 2 + int((rng.exponential(mean_s) + 0.25) * source.fps))
        shot = _played(rng, source.takes[number], before + body + after) * (1 - alike)
        shot += alike * grey
        if tail is not None:
            pictures.append(join(rng, tail, shot[:before], kind))
            first.append(np.zeros(before))
            within.append(np.ones(before))
        own = shot[before : before + body]
        begins = np.zeros(body)
        if pictures and tail is None:
            begins[0] = 1
            if rng.random() < 0.12:  # the first frame shows both shots, as after a change of rate
                weight = rng.uniform(0.25, 0.75)
                own[0] = weight * own[0] + (1 - weight) * pictures[-1][-1]
                begins[:2] = 0.5
        disturb(rng, own)
        pictures.append(own)
        first.append(begins)
        within.append(np.zeros(body))
        held += before + body
        tail = shot[before + body :] if after else None
        kind = following
    return (
        np.concatenate(pictures)[:count],
        np.concatenate(first)[:count].astype(np.float32),
        np.concatenate(within)[:count].astype(np.float32),
    )


def _played(rng: np.random.Generator, frames: np.ndarray, count: int) -> np.ndarray:
    """(count, 3, 9, 16) float32 of a take, forwards and backwards if it is too short."""
    start = int(rng.integers(0, max(1, len(frames) - count)))
    at = (start + np.arange(count)) % (2 * len(frames))
    return frames[np.minimum(at, 2 * len(frames) - 1 - at)].astype(np.float32)


def _as_filmed(rng: np.random.Generator, pictures: np.ndarray) -> np.ndarray:
    """The pictures with bars, in the dark, without colour, with noise."""
    if rng.random() < 0.2:
        axis, most = (2, 3) if rng.random() < 0.5 else (3, 6)
        width = int(rng.integers(1, most))
        sides = np.r_[0:width, pictures.shape[axis] - width : pictures.shape[axis]]
        black = np.broadcast_to(BLACK, (3, 9, 16))
        for side in sides:
            where = (slice(None), slice(None)) + (slice(None),) * (axis - 2) + (side,)
            pictures[where] = black[where[1:]]
    if rng.random() < 0.15:
        pictures = (pictures - BLACK) * rng.uniform(0.1, 0.5) + BLACK
    if rng.random() < 0.2:
        pictures[:, 1:] = 128
    grain = rng.choice([0.1, 0.3, 0.8, 2.0]) * rng.uniform(0.3, 1)
    flicker = rng.normal(0, rng.choice([0, 0, 0.3, 1.0]), (len(pictures), 1, 1, 1))
    pictures = pictures + grain * rng.standard_normal(pictures.shape, np.float32)
    return np.asarray(pictures + flicker * np.array([1, 0.1, 0.1])[:, None, None])


def _repeated(rng: np.random.Generator, video: Rendered) -> Rendered:
    """The video, sometimes with frames that repeat the one before: film shown as video, animation, a slow
    recorder."""
    count, drawn = len(video.small), rng.random()
    at = np.arange(count)
    if drawn < 0.08:
        at = at * 4 // 5
    elif drawn < 0.16:
        at = at // int(rng.integers(2, 4))
    elif drawn < 0.2:
        at = np.maximum.accumulate(np.where(rng.random(count) < rng.uniform(0.5, 0.95), at, 0))
    else:
        return video
    so_far = np.cumsum(video.first)[at]  # a cut in a dropped frame moves to the next one shown
    first = np.diff(so_far, prepend=0).clip(0, 1).astype(np.float32)
    return replace(video, small=video.small[at], first=first, within=video.within[at])
