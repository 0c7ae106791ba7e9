"""Is one video a copy of another? Frames that look alike must agree in time, and be the same in detail.

A copy may be re-encoded, rescaled, cropped a little, mirrored, cut at its ends, or play faster or slower. So the times of
equal frames lie on a line; and where both videos have a frame at about the same place on it, both show the same. Each of
these is a matter of degree: a logistic regression weighs them. It was fitted on 440 copies among 2,000 videos of the
micro-world, where many videos share a scene.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from PIL import Image

from data.curation.looks import SAME, mirrored

SPEEDS = (0.7, 1.4)
"""Slowest and fastest copy."""
AWAY_S = 0.75
"""How far the times of equal frames may lie off the line: of two copies, a policy chooses other frames of a scene."""
ABOUT_S = 2.0
"""How far off the line a frame of the other video may lie that explains one."""
SCENE = 0.9
"""Cosine of two neighbouring frames below which another scene begins."""
MANY = 12
"""So many pairs are as good as more."""
MARGIN_S = 0.2
"""What a frame may lie outside of what both show."""
SHOWN, AGREE, FEW = 0.6, 0.7, 3
"""Less of any is no copy, whatever the rest: the share of the shorter video that both show, shares of its frames, and
the number of equal frames."""
WEIGHTS = {
    "same": 6.5,
    "explained": 5.3,
    "paired": 8.6,
    "many": 1.0,
    "speed": -3.9,
    "shown": 10.5,
    "one scene": -4.7,
    "detail": -5.5,
}
"""Of the evidence, see `Alignment`."""
SURE = 27.2
"""Sum of the weighted evidence above which two videos are copies: precision .99 among 2,000 videos of the micro-world that are
not those of the fit."""
SIDE = 48
"""Of the pictures that are compared in detail."""
CROPS = (0.0, 0.025, 0.05, 0.075)
"""Shares of width and height that one of both may lack."""
DETAIL = 0.5
"""Largest difference in detail that counts, as a share of the pictures' contrast."""


@dataclass(frozen=True)
class Strip:
    """The frames of a video that are looked at, in time order."""

    times_s: np.ndarray
    """(K,)"""
    looks: np.ndarray
    """(K, 96)"""
    length_s: float

    @cached_property
    def scenes(self) -> np.ndarray:
        """(K,) number of each frame's scene."""
        seen = self.looks.astype(np.float32)
        return np.r_[0, np.cumsum((seen[1:] * seen[:-1]).sum(axis=1) < SCENE)]


Pairs = list[tuple[int, int]]
"""Numbers of frames of both that show the same."""


@dataclass(frozen=True)
class Alignment:
    """How two videos may show the same."""

    mirrored: bool
    pairs: Pairs
    evidence: Mapping[str, float]
    """`same`: share of the frames near one of the other video in time that are the same as that; `explained`: share of
    the frames in what both show that are the same as one at about that time; `paired`: share of them that are in a
    pair, of the video with fewer; `many`: number of pairs, 1 from 12 on; `speed`: |log|; `shown`: share of the shorter
    video that both show; `one scene`: 1 if all pairs are of one of several scenes."""


def aligned(a: Strip, b: Strip) -> Alignment | None:
    """How `b` may be a copy of `a`; None if it is none."""
    found: list[Alignment] = []
    for flipped in (False, True):
        seen = mirrored(a.looks) if flipped else a.looks
        alike = seen.astype(np.float32) @ b.looks.astype(np.float32).T  # (Ka, Kb)
        for speed, start_s in _lines(a, b, alike):
            one = _on_a_line(a, b, alike, flipped, speed, start_s)
            found += [one] if one is not None else []
    return max(found, key=weight_of, default=None)


def weight_of(found: Alignment) -> float:
    """The evidence, weighed."""
    return sum(WEIGHTS[name] * value for name, value in found.evidence.items())


def _lines(a: Strip, b: Strip, alike: np.ndarray) -> list[tuple[float, float]]:
    """Speeds and starts that are tried: whole copies, and the one that most equal frames lie near. In a take in which
    little happens all frames are equal, and they lie on any line."""
    rows, columns = np.nonzero(alike >= SAME)
    if not len(rows):
        return []
    stretch = b.length_s / max(a.length_s, 1e-3)
    whole = [(1.0, 0.0), (1.0, b.length_s - a.length_s)]
    whole += [(stretch, 0.0)] if SPEEDS[0] <= stretch <= SPEEDS[1] else []
    return [*whole, _line(a.times_s[rows], b.times_s[columns])]


def _on_a_line(
    a: Strip, b: Strip, alike: np.ndarray, flipped: bool, speed: float, start_s: float
) -> Alignment | None:
    rows, columns = np.nonzero(alike >= SAME)
    moved_s = speed * a.times_s + start_s  # (Ka,) on the clock of b
    low, high = max(0.0, start_s), min(b.length_s, speed * a.length_s + start_s)
    apart_s = np.abs(b.times_s[None] - moved_s[:, None])  # (Ka, Kb)
    off_s = apart_s[rows, columns]
    fits = off_s <= AWAY_S
    pairs = _one_to_one(rows[fits], columns[fits], off_s[fits])
    both_a = (moved_s >= low - MARGIN_S) & (moved_s <= high + MARGIN_S)
    both_b = (b.times_s >= low - MARGIN_S) & (b.times_s <= high + MARGIN_S)
    about = np.where(apart_s <= ABOUT_S, alike, -1.0) >= SAME
    explained = (about.any(axis=1) & both_a).sum() + (about.any(axis=0) & both_b).sum()
    met = min(len({a.scenes[x] for x, _ in pairs}), len({b.scenes[y] for _, y in pairs}))
    evidence = {
        "same": _share(np.where(apart_s <= AWAY_S, alike, -1.0), apart_s <= AWAY_S),
        "explained": float(explained / max(1, both_a.sum() + both_b.sum())),
        "paired": min(1.0, len(pairs) / max(1, both_a.sum(), both_b.sum())),
        "many": min(1.0, len(pairs) / MANY),
        "speed": float(abs(np.log(speed))),
        "shown": min(1.0, (high - low) / max(1e-3, min(b.length_s, speed * a.length_s))),
        "one scene": float(met == 1 and max(a.scenes[-1], b.scenes[-1]) > 0),
    }
    least = min(FEW, len(a.times_s), len(b.times_s))
    if len(pairs) < least or evidence["shown"] < SHOWN:
        return None
    if min(evidence["same"], evidence["explained"]) < AGREE:
        return None
    return Alignment(flipped, pairs, evidence)


def _share(alike: np.ndarray, near: np.ndarray) -> float:
    """Of the frames of both that have one near them in time, the share of which one is the same."""
    met = [near.any(axis=axis) for axis in (1, 0)]
    best = [alike.max(axis=axis) for axis in (1, 0)]
    same = np.concatenate([b[m] >= SAME for b, m in zip(best, met, strict=True)])
    return float(same.mean()) if len(same) else 0.0


def _line(ta: np.ndarray, tb: np.ndarray) -> tuple[float, float]:
    """Speed and start of the line tb = speed · ta + start that most pairs of times lie near."""
    lines = [(1.0, float(np.median(tb - ta)))]
    chosen = np.unique(np.linspace(0, len(ta) - 1, 24).astype(int))
    for i, j in combinations(chosen, 2):
        if abs(ta[j] - ta[i]) > 2 * AWAY_S:
            speed = float((tb[j] - tb[i]) / (ta[j] - ta[i]))
            if SPEEDS[0] <= speed <= SPEEDS[1]:
                lines.append((speed, float(tb[i] - speed * ta[i])))
    lines += [(1.0, float(tb[i] - ta[i])) for i in chosen]
    speeds, starts = np.array(lines).T  # (L,)
    off = np.abs(tb - (speeds[:, None] * ta + starts[:, None]))  # (L, P)
    score = np.maximum(0, 1 - off / AWAY_S).sum(axis=1) - 1e-3 * np.abs(np.log(speeds))
    best = int(score.argmax())
    return float(speeds[best]), float(starts[best])


def _one_to_one(rows: np.ndarray, columns: np.ndarray, off_s: np.ndarray) -> Pairs:
    """Each frame once, the nearest in time first."""
    taken_a, taken_b, found = set[int](), set[int](), []
    for i in np.argsort(off_s, kind="stable"):
        x, y = int(rows[i]), int(columns[i])
        if x not in taken_a and y not in taken_b:
            taken_a.add(x)
            taken_b.add(y)
            found.append((x, y))
    return sorted(found)


# --- in detail --------------------------------------------------------------------------------


def is_copy(
    found: Alignment, jpegs_a: Callable[[int], bytes], jpegs_b: Callable[[int], bytes]
) -> bool:
    """Whether the evidence is enough, with what the frames themselves say: the median difference of the pairs, one of
    both cropped a little."""
    known = weight_of(found)
    if known < SURE:  # details only count against it
        return False
    apart = []
    for x, y in found.pairs:
        one, other = _pictures(jpegs_a(x), found.mirrored), _pictures(jpegs_b(y), False)
        apart.append(
            min([_difference(c, other[0]) for c in one] + [_difference(one[0], c) for c in other])
        )
    return known + WEIGHTS["detail"] * min(DETAIL, float(np.median(apart))) >= SURE


def _pictures(jpeg: bytes, flipped: bool) -> Sequence[np.ndarray]:
    """(48, 48, 3) of the whole picture and of its middle, by `CROPS`."""
    picture = Image.open(io.BytesIO(jpeg)).convert("YCbCr")
    width, height = picture.size
    found = []
    for share in CROPS:
        x, y = width * share / 2, height * share / 2
        box = (x, y, width - x, height - y)
        size = (SIDE, SIDE)
        small = picture.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2)
        seen = np.asarray(small, np.float32)
        found.append(seen[:, ::-1] if flipped else seen)
    return found


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two pictures as a share of their contrast; 4 grey levels are noise."""
    contrast = [np.abs(one - np.median(one, axis=(0, 1))).mean() for one in (a, b)]
    return float(np.abs(a - b).mean() / (np.mean(contrast) + 4))
