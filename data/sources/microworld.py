"""A synthetic world with exact labels: encoded videos of shapes doing things, short clips or long films.

Each video is a sequence of scenes of very unequal length with hard cuts between them. About a third of
the scenes last under a second, so that evenly spaced frames miss them. Videos are rendered locally and
depend on the seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from data.errors import UserError
from data.media import VideoFile
from data.sample import Event, Sample
from data.sources.config import SourceKeys
from data.sources.shapes import outline

SIZE_PX = 96
FPS = 10
SHORT = 0.35
"""Share of scenes under a second."""
BUSY = 2
"""Most scenes that are not told before, between and after the others, if there are such scenes."""
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 220, 40),
    "purple": (150, 40, 180),
    "orange": (250, 140, 20),
}
BACKGROUNDS = {
    "white": (245, 245, 245),
    "black": (10, 10, 10),
    "grey": (128, 128, 128),
    "pink": (250, 185, 205),
    "brown": (105, 70, 40),
}
SHAPES = ("circle", "square", "triangle", "cross")
ACTIONS = {
    "moves left": (-1, 0),
    "moves right": (1, 0),
    "moves up": (0, -1),
    "moves down": (0, 1),
    "grows": (0, 0),
    "shrinks": (0, 0),
    "spins": (0, 0),
    "stays still": (0, 0),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One shape doing one thing on one background, for a whole number of frames."""

    num_frames: int
    colour: str
    shape: str
    background: str
    action: str
    radius: float
    """Share of the picture's side."""
    told: bool = True
    """Whether it is described. If not, it is moving stripes, or an empty stage if its action is to stay still."""

    @property
    def text(self) -> str:
        article = "an" if self.colour == "orange" else "a"
        return (
            f"{article} {self.colour} {self.shape} {self.action} on a {self.background} background."
        )


Facts = tuple[str, str, str]
_FACTS = re.compile(
    rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b.*?\b({'|'.join(BACKGROUNDS)}) background"
)


def facts(text: str) -> Facts | None:
    """The (colour, shape, background) that a text names, or None if it does not name all three."""
    found = _FACTS.search(text)
    return (found[1], found[2], found[3]) if found else None


FilmLengths = tuple[float, float]
"""Shortest and longest film, in seconds."""


def story(
    seed: int, index: int, film_s: FilmLengths | None = None, busy: bool = False
) -> tuple[Scene, ...]:
    """The scenes of video `index`, about 35 % of them under a second: 2–5 of them, 6–20 s in all; or of a film,
    whose long scenes last 4 to 16 s. Short films are as frequent as twice as long ones are. `busy`: with scenes
    between them of which nothing is told."""
    rng = np.random.default_rng([seed, index])
    lengths = _film_lengths(rng, film_s) if film_s is not None else _clip_lengths(rng)
    scenes: list[Scene] = []
    for length in lengths:
        backgrounds = [b for b in BACKGROUNDS if not scenes or b != scenes[-1].background]
        scenes.append(
            Scene(
                num_frames=int(length),
                colour=str(rng.choice(list(COLOURS))),
                shape=str(rng.choice(SHAPES)),
                background=str(rng.choice(backgrounds)),
                action=str(rng.choice(list(ACTIONS))),
                radius=float(rng.uniform(0.24, 0.32)),
            )
        )
    return _made_busy(scenes, np.random.default_rng([seed, index, 1])) if busy else tuple(scenes)


def _made_busy(scenes: list[Scene], rng: np.random.Generator) -> tuple[Scene, ...]:
    """The scenes with others between, before and after them: stripes that move a lot, or long empty stages."""
    result: list[Scene] = []
    for scene in (*scenes, None):
        for _ in range(int(rng.integers(0, BUSY + 1))):
            colour, background = str(rng.choice(list(COLOURS))), str(rng.choice(list(BACKGROUNDS)))
            still = rng.random() < 0.4
            length = int(rng.integers(3 * FPS, 8 * FPS) if still else rng.integers(FPS, 5 * FPS))
            action = "stays still" if still else str(rng.choice(["moves left", "moves right"]))
            width = float(rng.uniform(0.08, 0.3))
            result.append(Scene(length, colour, "square", background, action, width, told=False))
        result += [] if scene is None else [scene]
    return tuple(result)


def _film_lengths(rng: np.random.Generator, film_s: FilmLengths) -> list[int]:
    """Frames of each scene of a film."""
    room = round(FPS * np.exp(rng.uniform(*np.log(film_s))))
    lengths: list[int] = []
    while room > 0:
        short = lengths and rng.random() < SHORT
        length = int(rng.integers(4, 11) if short else rng.integers(4 * FPS, 16 * FPS + 1))
        if room - length < FPS:  # too little would be left for another scene
            length = room
        lengths.append(length)
        room -= length
    return lengths


def _clip_lengths(rng: np.random.Generator) -> np.ndarray:
    """Frames of each scene of a clip."""
    count = int(rng.integers(2, 6))
    short = rng.random(count) < SHORT
    short[rng.integers(count)] = False  # at least one scene is long
    lengths = np.where(short, rng.integers(4, 11, count), 0)
    room = int(rng.integers(6 * FPS, 20 * FPS + 1)) - int(lengths.sum())
    num_long = int((~short).sum())
    shares = rng.dirichlet(np.full(num_long, 2.0))
    least = min(12, room // num_long)
    ends = np.round(np.cumsum(shares) * (room - least * num_long)).astype(int)
    lengths[~short] = least + np.diff(ends, prepend=0)
    return lengths


def draw(scene: Scene, progress: float, size_px: int = SIZE_PX) -> np.ndarray:
    """The picture at `progress` (0 to 1) of a scene: (size, size, 3) uint8."""
    if not scene.told:
        return _untold(scene, progress, size_px)
    scale = 4  # drawn large and averaged down: soft edges, small shapes stay apart
    side, samples = size_px * scale, scale**2
    inside = Image.new("L", (side, side), 0)
    points = corners(scene, progress) * side  # (P, 2)
    ImageDraw.Draw(inside).polygon(points.ravel().tolist(), fill=samples)
    small = inside.reduce(scale)  # a pixel is the number of its samples inside the shape
    shape, ground = np.array([COLOURS[scene.colour], BACKGROUNDS[scene.background]])
    inner = np.arange(samples + 1)[:, None]  # (17, 1)
    blends = (inner * shape + (samples - inner) * ground + samples // 2) // samples  # (17, 3)
    small.putpalette(blends.astype(np.uint8).tobytes())
    return np.asarray(small.convert("RGB"))


def corners(
    scene: Scene, progress: float, middle: tuple[float, float] = (0.5, 0.5), reach: float = 0.3
) -> np.ndarray:
    """(P, 2) corners of its shape at `progress`, as fractions of the picture.

    Args:
        middle: of the way that it moves.
        reach: how far it moves.
    """
    place = [
        m + d * reach * (progress - 0.5) for m, d in zip(middle, ACTIONS[scene.action], strict=True)
    ]
    growth = {"grows": 0.6 + 0.4 * progress, "shrinks": 1.0 - 0.4 * progress}
    radius = scene.radius * growth.get(scene.action, 1.0)
    turn = progress * np.pi if scene.action == "spins" else 0.0
    return np.asarray(np.array(place) + radius * outline(scene.shape, turn))


def _untold(scene: Scene, progress: float, size_px: int) -> np.ndarray:
    """(size, size, 3) uint8: slanted stripes that move fast, or an empty stage."""
    ink, ground = np.array([COLOURS[scene.colour], BACKGROUNDS[scene.background]], np.float64)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    moved = 1.7 * progress * scene.num_frames / FPS * (1 if scene.action == "moves left" else -1)
    share = 0.5 + 0.5 * np.sin(2 * np.pi * ((x + 0.5 * y) / (2 * scene.radius) + moved))
    share *= scene.action != "stays still"
    return np.asarray(ground + share[..., None] * (ink - ground)).astype(np.uint8)


def pictures(scenes: tuple[Scene, ...]) -> Iterator[np.ndarray]:
    """Every frame of a story, in order."""
    for scene in scenes:
        for i in range(scene.num_frames):
            yield draw(scene, (i + 0.5) / scene.num_frames)


def events(scenes: tuple[Scene, ...]) -> tuple[Event, ...]:
    """The exact labels: one event for each scene that is told."""
    result, start = [], 0
    for scene in scenes:
        end = start + scene.num_frames
        if scene.told:
            result.append(Event(start / FPS, end / FPS, scene.text))
        start = end
    return tuple(result)


def render(
    seed: int, index: int, folder: Path, film_s: FilmLengths | None = None, busy: bool = False
) -> Path:
    """Encode video `index` as H.264 unless it is there already."""
    path = folder / f"{_id(seed, index, film_s, busy)}.mp4"
    if path.exists():
        return path
    from data.video.h264 import write_h264

    write_h264(path, pictures(story(seed, index, film_s, busy)), rate=FPS, crf=15)
    return path


def _id(seed: int, index: int, film_s: FilmLengths | None, busy: bool) -> str:
    kind = "world" if film_s is None else f"film-{film_s[0]:g}-{film_s[1]:g}"
    return f"{'busy-' if busy else ''}{kind}-{seed}-{index:05d}"


def count(keys: SourceKeys) -> int:
    """Number of videos that `read` will yield."""
    return keys.limit or 64


def version(keys: SourceKeys) -> None:
    """None: the seed and the number of videos already identify the data."""


def read(keys: SourceKeys) -> Iterator[Sample]:
    """Render the missing videos into `source.path`, then yield one sample per video."""
    folder = Path(keys.path or "prepared/microworld-videos")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"source.path={folder}: cannot be made ({error.strerror})") from None
    names = [_id(keys.seed, i, keys.film_s, keys.busy) for i in range(count(keys))]
    indices = range(len(names))
    if any(not (folder / f"{name}.mp4").exists() for name in names):
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            one = partial(render, keys.seed, folder=folder, film_s=keys.film_s, busy=keys.busy)
            work = pool.map(one, indices, chunksize=16 if keys.film_s is None else 1)
            for _ in tqdm(work, total=len(indices), desc="render", unit="video"):
                pass
    for i, name in enumerate(names):
        labels = events(story(keys.seed, i, keys.film_s, keys.busy))
        yield Sample(
            id=name,
            source="microworld",
            video_id=name,
            video=VideoFile(str(folder / f"{name}.mp4")),
            events=labels,
            description=" ".join(e.text[:1].upper() + e.text[1:] for e in labels),
            credit="rendered by scenescribe",
        )
