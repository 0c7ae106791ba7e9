"""Builds synthetic videos whose shots, transitions and events are known exactly, to measure selection.

Shots (micro-world scenes, moving textures, and real clips without cuts if a folder of them is given) are
joined by hard cuts, dissolves and fades, and disturbed by flashes and whip pans. The videos are deterministic
by seed. One half is for tuning; the other, made from other clips, is for the report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from data.bench.synthetic_clips import FPS, HEIGHT, WIDTH, Half, one_takes, segment, slide
from data.selection.measure.shots import Transition
from data.video.h264 import write_h264

SEED = 20261120


@dataclass(frozen=True)
class BuiltVideo:
    """A synthetic video and its labels; times in seconds."""

    id: str
    group: str
    half: Half
    path: str
    duration_s: float
    transitions: tuple[Transition, ...]
    events: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Group:
    """How the videos of one group are composed. Ranges are inclusive."""

    segments: tuple[int, int]
    """Number of shots."""
    length_s: tuple[float, float]
    """Duration of a shot."""
    joins: tuple[str, ...]
    """Transitions to draw from."""
    flashes: int = 0
    """Most flashes per shot."""
    whips: int = 0
    """Most whip pans per shot."""
    still: bool = False
    """Shots are still pictures with noise."""
    variable_rate: bool = False
    camera: str = "held"
    """held; moving: every other shot pans; shaken: hand-held; crowd: dim, with camera flashes."""
    slides: bool = False
    """Shots are presentation slides; nothing moves within a shot."""
    rate: float = FPS
    """Frames per second; 30: 24 fps film, in which every fourth frame is shown twice."""


GROUPS = {
    "hard": Group((6, 10), (1.0, 4.0), ("cut",)),
    "montage": Group((20, 40), (0.3, 1.0), ("cut",)),
    "dissolve": Group((5, 8), (1.5, 4.0), ("dissolve",)),
    "fade": Group((5, 7), (1.5, 4.0), ("fade",)),
    "flash": Group((5, 8), (1.5, 4.0), ("cut",), flashes=2),
    "whip": Group((4, 7), (2.0, 4.0), ("cut",), whips=1),
    "static": Group((2, 4), (4.0, 12.0), ("cut",), still=True),
    "vfr": Group((5, 8), (1.0, 4.0), ("cut", "cut", "dissolve"), variable_rate=True),
    "one-take": Group((1, 1), (10.0, 20.0), ("cut",)),
    "mixed": Group(
        (6, 12), (0.5, 5.0), ("cut", "cut", "dissolve", "fade"), flashes=1, variable_rate=True
    ),
    "moving": Group((6, 10), (1.0, 4.0), ("cut",), camera="moving"),
    "hand-held": Group((5, 9), (1.0, 4.0), ("cut",), camera="shaken"),
    "crowd": Group((2, 4), (5.0, 10.0), ("cut",), camera="crowd"),
    "slides": Group((3, 6), (3.0, 8.0), ("cut",), slides=True),
    "low rate": Group((5, 8), (2.0, 6.0), ("cut",), camera="moving", rate=3.0),
    "film": Group((5, 7), (1.5, 4.0), ("fade", "fade", "cut"), rate=30.0),
}


def build(folder: Path, *, per_half: int = 4, clips: Path | None = None) -> list[BuiltVideo]:
    """Render the missing videos into `folder`; returns all videos with their labels.

    `clips`: a folder with `clips.jsonl` (rows with `video`, `cuts_s`, `gradual_s`), whose clips without cuts
    are used as shots. Without it, textures are used instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halves: tuple[Half, ...] = ("tune", "report")
    jobs = [(group, half, i) for group in GROUPS for half in halves for i in range(per_half)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(_build_one, folder=folder, clips=clips), jobs))


def _build_one(job: tuple[str, Half, int], folder: Path, clips: Path | None) -> BuiltVideo:
    group, half, index = job
    rng = np.random.default_rng([SEED, list(GROUPS).index(group), half == "report", index])
    name = f"{group}-{half}-{index}{'' if clips is None else '-real'}"
    path, labels = folder / f"{name}.mp4", folder / f"{name}.json"
    if path.exists() and labels.exists():
        return _read_labels(labels)
    pictures, joins, events = _resampled(
        *_compose(GROUPS[group], rng, one_takes(clips, half)), GROUPS[group].rate
    )
    times_s = _clock(len(pictures), GROUPS[group], rng)
    write_h264(path, pictures, rate=FPS, times_s=times_s)
    end_s = float(times_s[-1]) + 1 / GROUPS[group].rate
    bounds_s = np.append(times_s, end_s)
    built = BuiltVideo(
        id=name,
        group=group,
        half=half,
        path=str(path),
        duration_s=end_s,
        transitions=tuple(
            Transition(float(times_s[last]), float(times_s[first]), hard=first == last + 1)
            for last, first in joins
        ),
        events=tuple((float(bounds_s[a]), float(bounds_s[b])) for a, b in events),
    )
    labels.write_text(json.dumps(asdict(built)), encoding="utf-8")
    return built


def _read_labels(path: Path) -> BuiltVideo:
    row = json.loads(path.read_text(encoding="utf-8"))
    row["transitions"] = tuple(Transition(**t) for t in row["transitions"])
    row["events"] = tuple((a, b) for a, b in row["events"])
    return BuiltVideo(**row)


# --- composing a video -------------------------------------------------------------------------


def _compose(
    group: Group, rng: np.random.Generator, takes: Sequence[Path]
) -> tuple[list[np.ndarray], list[tuple[int, int]], list[tuple[int, int]]]:
    """Pictures; per transition (last frame of old shot, first of new); events as half-open index ranges."""
    pictures: list[np.ndarray] = []
    joins: list[tuple[int, int]] = []
    events: list[tuple[int, int]] = []
    count = int(rng.integers(group.segments[0], group.segments[1] + 1))
    tail: list[np.ndarray] = []  # frames of the shot before that are shown during the transition
    kind, what = "cut", ""
    for k in range(count):
        before = len(tail)
        following = str(rng.choice(group.joins)) if k + 1 < count else "cut"
        after = 0 if following == "cut" else int(rng.integers(5, 31))
        length = round(float(rng.uniform(*group.length_s)) * FPS)
        total = before + length + after
        shown, phases, what = (
            ([slide(rng)] * total, [], what)
            if group.slides
            else segment(total, rng, takes, group.still, what)
        )
        shown = _with_camera(shown, group, k, rng)
        for _ in range(int(rng.integers(0, group.whips + 1)) if length > 40 else 0):
            at = before + int(rng.integers(12, length - 24))
            shown = _whip(shown, at, int(rng.integers(5, 12)), rng)
        for _ in range(int(rng.integers(0, group.flashes + 1)) if length > 30 else 0):
            _flash(shown, before + int(rng.integers(8, length - 10)), rng)
        start = len(pictures)
        pictures += _join(tail, shown[:before], kind)
        if k:
            joins.append((start - 1, len(pictures)))
        body = len(pictures)
        pictures += shown[before : before + length]
        edges = sorted({0, length, *(p - before for p in phases if 12 < p - before < length - 12)})
        events += [(body + a, body + b) for a, b in pairwise(edges)]
        tail, kind = shown[before + length :], following
    return pictures, joins, events


def _join(old: list[np.ndarray], new: list[np.ndarray], kind: str) -> list[np.ndarray]:
    """The pictures between two shots; none for a cut."""
    count = len(new)
    shares = (np.arange(count) + 1) / (count + 1)
    if kind == "dissolve":
        return [_blend(a, b, share) for a, b, share in zip(old, new, shares, strict=True)]
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)  # a fade: out to black, then in from it
    return [
        _blend(a, black, 2 * share) if share < 0.5 else _blend(black, b, 2 * share - 1)
        for a, b, share in zip(old, new, shares, strict=True)
    ]


def _blend(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return cv2.addWeighted(a, 1 - share, b, share, 0)


def _flash(shown: list[np.ndarray], at: int, rng: np.random.Generator) -> None:
    """Add a flash of one to three frames, which fades, in place."""
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    strength = float(rng.uniform(0.5, 0.95))
    for j in range(int(rng.integers(1, 4))):
        shown[at + j] = _blend(shown[at + j], white, strength * 0.8**j)


def _whip(
    shown: list[np.ndarray], at: int, length: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The shot with a whip pan at `at`: a fast pan of `length` frames, with motion blur, to the other side of
    a mirrored panorama."""
    side = int(rng.choice([-1, 1]))
    result = shown[:at]
    for j, picture in enumerate(shown[at:]):
        share = 0.5 - 0.5 * np.cos(np.pi * min(1.0, j / length))
        speed = np.sin(np.pi * min(1.0, j / length)) * np.pi / 2 * WIDTH / length
        panned = _panned(picture, -side * round(share * WIDTH))
        result.append(cv2.blur(panned, (max(1, round(speed / 2)), 1)))
    return result


def _with_camera(
    shown: list[np.ndarray], group: Group, number: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The pictures of shot `number` with the group's camera motion and light."""
    if group.camera == "crowd":
        lit = shown[0].mean() or 1.0
        dim = [np.asarray(p * min(1.0, 55 / lit)).astype(np.uint8) for p in shown]
        for at in range(int(rng.integers(10, 40)), len(dim) - 2, int(rng.integers(40, 70))):
            for j in range(int(rng.integers(1, 3))):  # over-exposed: bright and crisp
                dim[at + j] = np.clip(dim[at + j] * np.float32(3) + 40, 0, 255).astype(np.uint8)
        return dim
    if group.camera == "moving":
        grey = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)  # one place, one light: shots look alike
        shown = [_blend(p, grey, 0.4) for p in shown]
        if number % 2 == 0:
            return shown
        speed = float(rng.uniform(4, 24)) * (1 if rng.random() < 0.5 else -1)
        speed *= min(1.0, group.rate / FPS)  # pixels from one frame of `shown` to the next
        return [_panned(p, round(speed * i)) for i, p in enumerate(shown)]
    if group.camera == "shaken":
        steps = rng.normal(0, 1, (len(shown), 2)).cumsum(axis=0)
        steps -= cv2.blur(steps, (1, 25))  # no drift: only the shaking stays
        return [
            np.roll(
                cv2.copyMakeBorder(p, 12, 12, 12, 12, cv2.BORDER_REFLECT),
                (round(3 * y), round(3 * x)),
                (0, 1),
            )[12:-12, 12:-12]
            for p, (y, x) in zip(shown, steps.clip(-4, 4), strict=True)
        ]
    return shown


def _panned(picture: np.ndarray, by: int) -> np.ndarray:
    """The view of the picture's mirrored panorama after a pan by so many pixels."""
    wide = np.concatenate([picture, picture[:, ::-1, ::-1]], axis=1)  # (H, 2W, 3)
    return np.roll(wide, by, axis=1)[:, :WIDTH]


def _resampled(
    pictures: list[np.ndarray],
    joins: list[tuple[int, int]],
    events: list[tuple[int, int]],
    rate: float,
) -> tuple[list[np.ndarray], list[tuple[int, int]], list[tuple[int, int]]]:
    """The video at another frame rate, of the same duration: frames are dropped, or every fourth repeated."""
    if rate == FPS:
        return pictures, joins, events
    if rate < FPS:
        kept = np.arange(0, len(pictures), round(FPS / rate))
    else:  # every fourth frame twice
        kept = np.arange(len(pictures) * 5 // 4) * 4 // 5
    joins = [
        (int(np.searchsorted(kept, last, side="right")) - 1, int(np.searchsorted(kept, first)))
        for last, first in joins
    ]
    events = [(int(np.searchsorted(kept, a)), int(np.searchsorted(kept, b))) for a, b in events]
    return [pictures[i] for i in kept], joins, [(a, b) for a, b in events if b > a]


def _clock(count: int, group: Group, rng: np.random.Generator) -> np.ndarray:
    """(count,) timestamps in whole milliseconds: at the group's rate, or in runs of ten equal steps of 20 to
    80 ms."""
    if not group.variable_rate:
        return np.round(np.arange(count) / group.rate, 3)
    steps = np.repeat(rng.choice([20, 40, 60, 80], count // 10 + 1), 10)[:count]
    return (np.cumsum(steps) - steps[0]) / 1000
