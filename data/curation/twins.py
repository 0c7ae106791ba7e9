"""Is one video a copy of another? Frames that look alike must agree in time, and be the same in detail.

A copy may be re-encoded, rescaled, cropped a little, mirrored, cut at its ends, or play faster or slower. So the times of
equal frames lie on a line; and where both videos have a frame at about the same place on it, both show the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
SHOWN = 0.7
"""Least share of the shorter video that both show."""
AGREE, EXPLAINED, SCENES = 0.7, 0.7, 0.6
"""Of what both show, least share of frames that are the same as one at their time, or at about that; least share of
scenes."""
MARGIN_S = 0.2
"""What a frame may lie outside of what both show."""
FEW = 3
"""Least number of equal frames of two videos of one scene."""
SIDE = 48
"""Of the pictures that are compared in detail."""
CROPS = (0.0, 0.025, 0.05, 0.075)
"""Shares of width and height that one of both may lack."""
DETAIL = 0.18
"""Largest difference in detail, as a share of the pictures' contrast."""


@dataclass(frozen=True)
class Strip:
    """The frames of a video that are looked at, in time order."""

    times_s: np.ndarray
    """(K,)"""
    looks: np.ndarray
    """(K, 96)"""
    length_s: float


Pairs = list[tuple[int, int]]
"""Numbers of frames of both that show the same."""


def aligned(a: Strip, b: Strip) -> tuple[bool, Pairs] | None:
    """Whether `b` shows `a` mirrored, and which frames are the same; None if the videos are not of one content."""
    best: tuple[bool, Pairs] | None = None
    for flipped in (False, True):
        seen = mirrored(a.looks) if flipped else a.looks
        alike = seen.astype(np.float32) @ b.looks.astype(np.float32).T  # (Ka, Kb)
        found = _on_a_line(a, b, alike)
        if found and (best is None or len(found) > len(best[1])):
            best = flipped, found
    return best


def _on_a_line(a: Strip, b: Strip, alike: np.ndarray) -> Pairs:
    """Equal frames whose times fit; none if other frames contradict."""
    rows, columns = np.nonzero(alike >= SAME)
    if not len(rows):
        return []
    ta, tb = a.times_s[rows], b.times_s[columns]  # (P,)
    speed, start_s = _line(ta, tb)
    moved_s = speed * a.times_s + start_s  # (Ka,) on the clock of b
    low, high = max(0.0, start_s), min(b.length_s, speed * a.length_s + start_s)
    if high - low < SHOWN * min(b.length_s, speed * a.length_s):
        return []
    apart_s = np.abs(b.times_s[None] - moved_s[:, None])  # (Ka, Kb)
    if _share(np.where(apart_s <= AWAY_S, alike, -1.0), apart_s <= AWAY_S) < AGREE:
        return []
    both_a = (moved_s >= low - MARGIN_S) & (moved_s <= high + MARGIN_S)
    both_b = (b.times_s >= low - MARGIN_S) & (b.times_s <= high + MARGIN_S)
    about = np.where(apart_s <= ABOUT_S, alike, -1.0) >= SAME
    explained = (about.any(axis=1) & both_a).sum() + (about.any(axis=0) & both_b).sum()
    if explained < EXPLAINED * (both_a.sum() + both_b.sum()):
        return []
    off_s = apart_s[rows, columns]
    fits = off_s <= AWAY_S
    pairs = _one_to_one(rows[fits], columns[fits], off_s[fits])
    scenes_a, scenes_b = _scenes(a.looks), _scenes(b.looks)
    met = min(len({scenes_a[x] for x, _ in pairs}), len({scenes_b[y] for _, y in pairs}))
    most = max(len(set(scenes_a[both_a])), len(set(scenes_b[both_b])))
    one_scene = scenes_a[-1] == scenes_b[-1] == 0 and len(pairs) >= FEW
    return pairs if met >= SCENES * most and (met > 1 or one_scene) else []


def _share(alike: np.ndarray, near: np.ndarray) -> float:
    """Of the frames of both that have one near them in time, the share of which one is the same."""
    met = [near.any(axis=axis) for axis in (1, 0)]
    best = [alike.max(axis=axis) for axis in (1, 0)]
    same = np.concatenate([b[m] >= SAME for b, m in zip(best, met, strict=True)])
    return float(same.mean()) if len(same) else 0.0


def _scenes(looks: np.ndarray) -> np.ndarray:
    """(K,) number of each frame's scene."""
    seen = looks.astype(np.float32)
    return np.r_[0, np.cumsum((seen[1:] * seen[:-1]).sum(axis=1) < SCENE)]


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


def same_in_detail(
    flipped: bool, pairs: Pairs, jpegs_a: Callable[[int], bytes], jpegs_b: Callable[[int], bytes]
) -> bool:
    """Whether the frames themselves are the same, one of both cropped a little."""
    apart = []
    for x, y in pairs:
        one, other = _pictures(jpegs_a(x), flipped), _pictures(jpegs_b(y), False)
        apart.append(
            min([_difference(c, other[0]) for c in one] + [_difference(one[0], c) for c in other])
        )
    return float(np.median(apart)) <= DETAIL


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
