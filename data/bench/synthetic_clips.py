"""Pictures for the synthetic videos: micro-world scenes, moving textures, pieces of real clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from data.sources import microworld
from data.video.video import Video

WIDTH, HEIGHT, FPS = 256, 144, 25
Half = Literal["tune", "report"]


def one_takes(clips: Path | None, half: Half) -> list[Path]:
    """The labelled clips without cuts that belong to one half: every second one, by name."""
    if clips is None:
        return []
    rows = [json.loads(line) for line in (clips / "clips.jsonl").read_text("utf-8").splitlines()]
    whole = sorted(
        row["video"] for row in rows if not row["cuts_s"] and not row["gradual_s"] and row["events"]
    )
    return [clips / name for name in whole[half == "report" :: 2]]


def segment(
    length: int, rng: np.random.Generator, takes: Sequence[Path], still: bool, before: str
) -> tuple[list[np.ndarray], list[int], str]:
    """One shot: `length` pictures, the positions at which something new begins in it, and a name of what it
    shows.

    Its content differs from that of the shot `before`: a cut within the same content would be invisible.
    """
    kind = str(rng.choice(["world", "texture", "real"]))
    seed = int(rng.integers(2**31))
    phases: list[int] = []
    if kind == "world":
        scene = microworld.story(seed, 0)[0]
        while (what := scene.background) == before:
            seed += 1
            scene = microworld.story(seed, 0)[0]
        shown = _world(length, scene)
    elif kind == "real" and takes:
        others = [path for path in takes if path.stem.split("_")[0] != before]
        path = others[int(rng.integers(len(others)))]
        what = path.stem.split("_")[0]  # `frog` and `frog_vp8` show the same
        every = _take(path)
        start = int(rng.integers(max(1, len(every) - length)))
        looped = [*every[start:], *every[::-1], *every]  # backwards and forwards if it is too short
        shown = [looped[i % len(looped)] for i in range(length)]
    else:
        shown, phases = _texture(length, seed)
        what = str(seed)
    if still:
        noise = np.random.default_rng(seed).integers(0, 4, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
        first = shown[len(shown) // 2] // 2 + 60
        return [first + noise[i % 4] for i in range(length)], [], what
    return list(shown), phases, what


@lru_cache(maxsize=3)
def _take(path: Path) -> list[np.ndarray]:
    """The first 400 frames of a clip, at the size of the synthetic videos."""
    pictures = []
    for frame in Video(str(path)).decode():
        picture = frame.rgb(HEIGHT)
        pictures.append(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
        if len(pictures) == 400:
            break
    return pictures


def _world(length: int, scene: microworld.Scene) -> list[np.ndarray]:
    """One micro-world scene; its square is extended to the sides by its background."""
    shown = []
    for i in range(length):
        square = microworld.draw(scene, (i + 0.5) / length, HEIGHT)
        side = (WIDTH - HEIGHT) // 2
        shown.append(cv2.copyMakeBorder(square, 0, 0, side, side, cv2.BORDER_REPLICATE))
    return shown


def _texture(length: int, seed: int) -> tuple[list[np.ndarray], list[int]]:
    """Pictures of a camera over a random texture (phases of hold, pan and zoom) that an object crosses, and
    the positions at which phases begin."""
    rng = np.random.default_rng(seed)
    height, width = HEIGHT * 3, WIDTH * 3
    land = np.zeros((height, width, 3), np.float32)
    for cells in (2, 5, 14, 40):
        coarse = rng.random((cells, cells * 2, 3)).astype(np.float32)
        wide = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        land += np.asarray(wide, np.float32) / np.float32(cells**0.4)
    low, high = float(rng.uniform(0, 60)), float(rng.uniform(150, 255))
    land = (low + (high - low) * (land - land.min()) / (np.ptp(land) + 1e-6)).astype(np.uint8)
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    x, y, zoom = 0.5, 0.5, 1.2
    phases = [0]
    dx = dy = dz = 0.0
    shown = []
    for i in range(length):
        if i == phases[-1]:  # a new phase of the camera
            phases.append(i + int(rng.integers(40, 120)))
            dx, dy, dz = rng.uniform(-0.003, 0.003, 3) * rng.integers(0, 2, 3)
        x, y = float(np.clip(x + dx, 0.25, 0.75)), float(np.clip(y + dy, 0.25, 0.75))
        zoom = float(np.clip(zoom * (1 + dz), 0.9, 1.5))
        centre = (x * width, y * height)
        view = cv2.getRectSubPix(land, (int(WIDTH * zoom), int(HEIGHT * zoom)), centre)
        view = cv2.resize(view, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        at = (int(WIDTH * (0.1 + 0.8 * i / length)), int(HEIGHT * (0.5 + 0.2 * np.sin(i / 15))))
        cv2.circle(view, at, HEIGHT // 9, colour, -1)
        shown.append(view)
    return shown, phases[1:-1]


def slide(rng: np.random.Generator) -> np.ndarray:
    """A presentation slide: dark lines of text on white."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for line in range(int(rng.integers(2, 6))):
        y = 20 + 22 * line
        letters = rng.random((6, int(rng.integers(60, 200)))) < 0.35
        picture[y : y + 6, 20 : 20 + letters.shape[1]][letters] = 30
    return picture
