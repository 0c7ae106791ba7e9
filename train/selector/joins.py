"""Transitions between two takes, and what looks like one: all on small pictures (n, 3, 9, 16).

A small picture is a mean of pixels, so a dissolve or a wipe of small pictures is the small picture of the
dissolve or wipe.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from train.selector.takes import BLACK

Kind = Literal["cut", "dissolve", "fade", "wipe", "push"]
KINDS: tuple[Kind, ...] = ("cut", "dissolve", "fade", "wipe", "push")
WHITE = np.array([235, 128, 128], np.float32)[:, None, None]
STYLES = 6
"""Of wipes: from four sides, from the middle, diagonal."""


def join(rng: np.random.Generator, old: np.ndarray, new: np.ndarray, kind: Kind) -> np.ndarray:
    """The pictures strictly between two shots, of which both show (L, 3, 9, 16) meanwhile."""
    share = (np.arange(len(old), dtype=np.float32) + 1) / (len(old) + 1)  # (L,) of the new shot
    if kind == "dissolve":
        weight = share[:, None, None, None]
        return old * (1 - weight) + new * weight
    if kind == "fade":
        blank = float(rng.choice([0, 0, 0.2, 0.5]))  # share of its length
        half = (1 - blank) / 2
        out = np.clip(1 - share / half, 0, 1)[:, None, None, None]
        back = np.clip((share - half - blank) / half, 0, 1)[:, None, None, None]
        return np.asarray(old * out + new * back + blank_colour(rng) * (1 - out - back))
    if kind == "wipe":
        style = int(rng.integers(STYLES))
        cover = np.stack([covered(s, style) for s in share])[:, None]  # (L, 1, 9, 16)
        return old * (1 - cover) + new * cover
    return _push(old, new, share, axis=int(rng.choice([2, 3])), forward=rng.random() < 0.5)


def _push(
    old: np.ndarray, new: np.ndarray, share: np.ndarray, axis: int, forward: bool
) -> np.ndarray:
    """The new shot pushes the old one out of the picture, along rows (axis 2) or columns (3)."""
    both = np.concatenate([old, new] if forward else [new, old], axis=axis)  # twice as long
    size = old.shape[axis]
    at = (share if forward else 1 - share) * size
    low = np.floor(at).astype(int).clip(0, size - 1)
    pictures = []
    for i, (start, rest) in enumerate(zip(low, at - low, strict=True)):
        one = both[i]
        a = np.take(one, np.arange(start, start + size), axis=axis - 1)
        b = np.take(one, np.arange(start + 1, start + 1 + size), axis=axis - 1)
        pictures.append((1 - rest) * a + rest * b)
    return np.stack(pictures)


def covered(share: float, style: int) -> np.ndarray:
    """(9, 16) share of each cell that shows the new shot when a wipe is at `share`."""
    rows, columns = np.linspace(0, 1, 10), np.linspace(0, 1, 17)

    def until(edges: np.ndarray, end: float) -> np.ndarray:
        return np.clip((end - edges[:-1]) / np.diff(edges), 0, 1)

    down, right = until(rows, share)[:, None], until(columns, share)[None]
    if style == 4:  # from the middle
        high = np.minimum(until(rows, 0.5 + share / 2), until(rows, 0.5 + share / 2)[::-1])
        wide = np.minimum(until(columns, 0.5 + share / 2), until(columns, 0.5 + share / 2)[::-1])
        return np.asarray(high[:, None] * wide[None], np.float32)
    if style == 5:  # diagonal, with a soft edge
        far = (np.arange(9)[:, None] / 8 + np.arange(16)[None] / 15) / 2
        return np.clip((1.3 * share - far) / 0.15, 0, 1).astype(np.float32)
    sides = (right, right[:, ::-1], down, down[::-1])
    return np.broadcast_to(sides[style], (9, 16)).astype(np.float32)


def blank_colour(rng: np.random.Generator) -> np.ndarray:
    """(3, 1, 1) what a shot fades into: mostly black, sometimes white or a colour."""
    drawn = rng.random()
    if drawn < 0.7:
        return BLACK
    if drawn < 0.88:
        return WHITE
    return np.array([rng.uniform(16, 235), *rng.uniform(80, 176, 2)], np.float32)[:, None, None]


def disturb(rng: np.random.Generator, shot: np.ndarray) -> None:
    """Add to a shot (n, 3, 9, 16), in place, what is no transition: flashes, lights that go on or off, a fade to
    black and back, a subtitle or a logo."""
    count = len(shot)
    if rng.random() < 0.25 and count > 8:
        for _ in range(int(rng.integers(1, 4))):
            _flash(rng, shot)
    if rng.random() < 0.06 and count > 20:
        at, length = int(rng.integers(5, count - 5)), int(rng.integers(1, 8))
        ramp = np.clip((np.arange(count) - at) / length, 0, 1)[:, None, None, None]
        gain = 1 + (rng.uniform(0.4, 0.8) - 1) * (ramp if rng.random() < 0.5 else 1 - ramp)
        shot[:] = (shot - BLACK) * gain + BLACK
    if rng.random() < 0.04 and count > 20:
        at = int(rng.integers(4, count - 8))
        length = int(rng.integers(3, min(40, count - at)))
        weight = np.minimum(1, 1.3 * (1 - np.abs(np.linspace(-1, 1, length))))[:, None, None, None]
        shot[at : at + length] = shot[at : at + length] * (1 - weight) + BLACK * weight
    if rng.random() < 0.1:
        at = int(rng.integers(0, count))
        until = at + int(rng.integers(1, count - at + 1))
        top, left = int(rng.choice([0, 6, 7])), int(rng.integers(0, 8))
        right = int(rng.integers(left + 2, 17))
        letters = rng.uniform(-60, 90) * rng.random((1, 2, right - left))
        shot[at:until, 0, top : top + 2, left:right] += letters


def _flash(rng: np.random.Generator, shot: np.ndarray) -> None:
    """One to three frames that are white, black, or over-exposed, as a whole or in a part of the picture."""
    at, length = int(rng.integers(1, len(shot) - 4)), int(rng.integers(1, 4))
    strength = rng.uniform(0.3, 0.95)
    colour = blank_colour(rng) if rng.random() < 0.3 else WHITE
    where = np.ones((9, 16), np.float32)
    if rng.random() < 0.3:
        where = covered(float(rng.uniform(0.3, 0.7)), int(rng.integers(STYLES)))
    exposed = rng.random() < 0.3
    for i in range(at, at + length):
        if exposed:
            shot[i] = np.clip((shot[i] - BLACK) * rng.uniform(1.5, 3) + BLACK, 16, 235)
        else:
            weight = strength * 0.8 ** (i - at) * where
            shot[i] = shot[i] * (1 - weight) + colour * weight
