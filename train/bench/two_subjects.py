"""Made-up videos with two subjects at once, and where each is: who does not look at the box cannot know which is meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data.sources.microworld import ACTIONS, BACKGROUNDS, COLOURS, FPS, SHAPES, Scene, corners
from data.video.h264 import write_h264

SIZE_PX = 96
AWAY = 0.25
"""Share of the scenes in which one of both is not there."""
SIDES = (0.27, 0.73)
"""Middles of the left and the right half."""
REACH = 0.16
"""How far a subject moves, as a share of the picture's side."""
Subjects = tuple[Scene | None, Scene | None]


@dataclass(frozen=True)
class Shot:
    """What both subjects do for a while; None: it is away."""

    subjects: Subjects
    left: int
    """Which of them is on the left."""

    @property
    def num_frames(self) -> int:
        return next(one.num_frames for one in self.subjects if one is not None)


def shots(seed: int, index: int) -> list[Shot]:
    """Two to four shots of 2 to 5 s. Colours and shapes are drawn anew for each, and sides too, so that only the box tells
    one subject from the other."""
    rng = np.random.default_rng([seed, index, 2])
    made: list[Shot] = []
    before = ""
    for _ in range(int(rng.integers(2, 5))):
        ground = str(rng.choice([name for name in BACKGROUNDS if name != before]))
        before, length = ground, int(rng.integers(2 * FPS, 5 * FPS))
        colours = rng.choice(list(COLOURS), 2, replace=False)
        both = [
            Scene(length, str(colour), str(rng.choice(SHAPES)), ground, str(rng.choice(list(ACTIONS))), float(rng.uniform(0.15, 0.19)))
            for colour in colours
        ]  # fmt: skip
        gone = int(rng.integers(2)) if rng.random() < 2 * AWAY else None
        first, second = (None if i == gone else one for i, one in enumerate(both))
        made.append(Shot((first, second), int(rng.integers(2))))
    return made


def draw(shot: Shot, progress: float) -> np.ndarray:
    """(S, S, 3) uint8"""
    scale = 4
    ground = next(one.background for one in shot.subjects if one is not None)
    picture = Image.new("RGB", (SIZE_PX * scale,) * 2, BACKGROUNDS[ground])
    pen = ImageDraw.Draw(picture)
    for number, scene in enumerate(shot.subjects):
        if scene is not None:
            points = corners(scene, progress, _middle(shot, number), REACH) * SIZE_PX * scale
            pen.polygon(points.ravel().tolist(), fill=COLOURS[scene.colour])
    return np.asarray(picture.reduce(scale))


def _middle(shot: Shot, number: int) -> tuple[float, float]:
    return SIDES[0] if shot.left == number else SIDES[1], 0.5


def box_of(shot: Shot, number: int, progress: float) -> list[float]:
    """Left, top, right, bottom of a subject that is there."""
    scene = shot.subjects[number]
    assert scene is not None
    points = corners(scene, progress, _middle(shot, number), REACH)
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def rows_of(seed: int, index: int, video: str) -> Iterator[dict[str, Any]]:
    """A row of JSON Lines for each subject: its events and its boxes."""
    told = shots(seed, index)
    for number, name in enumerate("ab"):
        boxes: list[list[float]] = []
        events, start = [], 0
        for shot in told:
            scene, end = shot.subjects[number], start + shot.num_frames
            if scene is None:
                boxes.append([start / FPS])
            else:
                events.append([start / FPS, end / FPS, scene.text])
                last_s = (end - 1) / FPS + 0.05
                boxes += [
                    [start / FPS, *box_of(shot, number, 0.0)],
                    [last_s, *box_of(shot, number, 1.0)],
                ]
            start = end
        if events:
            yield {"id": f"{seed}-{index:05d}-{name}", "video": video, "video_id": f"{seed}-{index:05d}", "events": events, "boxes": boxes}  # fmt: skip


def write(folder: Path, seed: int, count: int) -> Path:
    """Render the videos, and list their rows; returns the list."""
    listed = folder / f"two-{seed}.jsonl"
    if listed.exists():
        return listed
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        name = f"two-{seed}-{index:05d}.mp4"
        frames = (
            draw(shot, (i + 0.5) / shot.num_frames)
            for shot in shots(seed, index)
            for i in range(shot.num_frames)
        )
        write_h264(folder / "videos" / name, frames, rate=FPS, crf=15)
        lines += [json.dumps(row) for row in rows_of(seed, index, f"videos/{name}")]
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed
