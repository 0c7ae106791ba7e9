"""Takes that never were: small pictures of a camera over a random texture, with objects that cross it.

Only what the selector sees is made, luma and chroma of 9 × 16 cells, from pictures of 64 × 36. Everything that
a camera does and that is no transition occurs here: pans, zooms, whip pans, shaking hands, changing light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 36
BLACK = np.array([16, 128, 128], np.float32)[:, None, None]
"""(3, 1, 1) in limited range."""
TO_YUV = np.array(  # BT.601, limited range, from RGB of 0 to 255
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32
)
SPEEDS = (0.03, 0.1, 0.3, 0.8)
"""Of the camera: pictures per second."""


@dataclass(frozen=True)
class Roll:
    """Takes at one frame rate, of which training videos are cut together."""

    fps: float
    takes: tuple[np.ndarray, ...]
    """(n, 3, 9, 16) float16 each."""


def small_of(rgb: np.ndarray) -> np.ndarray:
    """(n, 36, 64, 3) of 0 to 255 → (n, 3, 9, 16) float32, as `Signals.small` before rounding."""
    cells = rgb.reshape(len(rgb), 9, HEIGHT // 9, 16, WIDTH // 16, 3)
    mean = cells.mean(axis=(2, 4), dtype=np.float32)  # (n, 9, 16, 3)
    yuv = mean @ (TO_YUV.T / 255)
    return np.asarray(yuv.transpose(0, 3, 1, 2) + BLACK)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32: coloured noise of several sizes, smooth or in blocks."""
    land = np.zeros((height, width, 3), np.float32)
    roughness, colour = rng.uniform(0.1, 1.0), rng.uniform(0, 1)
    for cells in (2, 4, 9, 20, 45):
        coarse = rng.random((max(2, cells * height // width + 1), cells, 3)).astype(np.float32)
        coarse = colour * coarse + (1 - colour) * coarse.mean(axis=2, keepdims=True)
        how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
        wide = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=how)
        land += wide / np.float32(cells**roughness)
    low, high = np.percentile(land, [1, 99])
    land = np.clip((land - low) / (high - low + 1e-6), 0, 1) ** rng.uniform(0.5, 2)
    dark = rng.uniform(0, 90)
    bright = rng.uniform(dark + 20, 255)
    return np.asarray((dark + (bright - dark) * land) * rng.uniform(0.5, 1, 3), np.float32)


def take(
    rng: np.random.Generator,
    count: int,
    step_s: float,
    view: np.ndarray | None = None,
    still: bool = False,
) -> np.ndarray:
    """One take of `count` frames, (count, 3, 9, 16) float32.

    Args:
        view: the texture, three times the picture's size; takes of one view show the same place.
        still: nothing moves.
    """
    speed = 0.0 if still or rng.random() < 0.15 else float(rng.choice(SPEEDS))
    path = _camera(rng, count, step_s, speed)
    if view is None:
        view = texture(rng, 3 * HEIGHT, 3 * WIDTH)
    else:
        path.x[:] += rng.uniform(-1, 1) * WIDTH
        path.y[:] += rng.uniform(-1, 1) * HEIGHT
        path.zoom[:] *= np.exp(rng.uniform(-0.4, 0.6))
    shown = np.empty((count, HEIGHT, WIDTH, 3), np.float32)
    for i in range(count):
        matrix = cv2.getRotationMatrix2D(
            (1.5 * WIDTH, 1.5 * HEIGHT), float(np.degrees(path.turn[i])), float(path.zoom[i])
        )
        matrix[:, 2] += (path.x[i] - WIDTH, path.y[i] - HEIGHT)
        picture = cv2.warpAffine(
            view, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        shown[i] = cv2.blur(picture, (int(path.blur[i] / 2), 1)) if path.blur[i] > 3 else picture
    for _ in range(0 if still else int(rng.integers(0, 4))):
        _object(rng, shown, step_s)
    if not still and rng.random() < 0.15:  # water, leaves: the picture trembles in places
        noise = rng.normal(0, 1, (count, 6 * 8)).astype(np.float32)
        coarse = cv2.blur(noise, (1, max(1, round(0.3 / step_s))))
        amount = rng.uniform(5, 40)
        for i in range(count):
            shown[i] += amount * cv2.resize(coarse[i].reshape(6, 8), (WIDTH, HEIGHT))[:, :, None]
    light = 1 + 0.5 * _course(rng, count, step_s, float(rng.choice([0, 0, 0.05, 0.3])))
    shown *= np.clip(light, 0.3, 1.7).astype(np.float32)[:, None, None, None]
    return small_of(np.clip(shown, 0, 255))


def slide(rng: np.random.Generator, count: int, dark: bool) -> np.ndarray:
    """A presentation slide, (count, 3, 9, 16): lines of text, perhaps a picture."""
    page = np.full((HEIGHT, WIDTH, 3), 30 if dark else 245, np.float32)
    ink = rng.uniform(120, 255, 3) if dark else rng.uniform(0, 110, 3)
    for line in range(int(rng.integers(1, 7))):
        top, length = 3 + 5 * line, int(rng.integers(8, 56))
        letters = (rng.random((2, length, 1)) < 0.5) * rng.uniform(0.3, 0.9)
        rows = page[top : top + 2, 4 : 4 + length]
        rows[:] = rows * (1 - letters) + ink * letters
    if rng.random() < 0.3:
        top, left = int(rng.integers(0, 18)), int(rng.integers(0, 40))
        page[top : top + 16, left : left + 22] = texture(rng, 16, 22)
    return small_of(np.repeat(page[None], count, axis=0))


@dataclass(frozen=True)
class _Path:
    """Where the camera looks, per frame: pixels, zoom, angle, and the blur of fast pans in pixels."""

    x: np.ndarray
    y: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray
    blur: np.ndarray


def _camera(rng: np.random.Generator, count: int, step_s: float, speed: float) -> _Path:
    x = _course(rng, count, step_s, speed * WIDTH)
    y = _course(rng, count, step_s, speed * HEIGHT / 2)
    zoom = np.exp(np.clip(_course(rng, count, step_s, speed / 2), -0.7, 0.5))
    turn = _course(rng, count, step_s, 0.3 * speed) * rng.integers(0, 2)
    blur = np.zeros(count)
    if speed and rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            _whip(rng, step_s, x, zoom, blur)
    if speed and rng.random() < 0.12:  # held by a nervous hand
        walk = rng.normal(0, 1, (2, count)).cumsum(axis=1)
        walk -= cv2.blur(walk, (max(3, round(1 / step_s)), 1))
        x, y = np.array([x, y]) + walk * rng.uniform(0.5, 2)
    amount = float(rng.choice([0, 0, 0.3, 1, 2])) if speed else 0.0
    tremble = cv2.GaussianBlur(rng.normal(0, amount, (2, count)), (0, 0), max(0.5, 0.06 / step_s))
    return _Path(x + 2 * tremble[0], y + 2 * tremble[1], zoom, turn, blur)


def _whip(
    rng: np.random.Generator, step_s: float, x: np.ndarray, zoom: np.ndarray, blur: np.ndarray
) -> None:
    """Add a whip pan or a crash zoom, in place."""
    length = max(2, int(rng.uniform(0.12, 0.6) / step_s))
    if length + 2 >= len(x):
        return
    at = int(rng.integers(0, len(x) - length))
    side, far = int(rng.choice([-1, 1])), rng.uniform(0.4, 2.0) * WIDTH
    course = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, length + 1) / length)
    if rng.random() < 0.25:
        zoom[at : at + length] *= np.exp(0.5 * side * course)
        zoom[at + length :] *= np.exp(0.5 * side)
    else:
        x[at : at + length] += side * far * course
        x[at + length :] += side * far
    blur[at : at + length] = np.gradient(course) * far


def _object(rng: np.random.Generator, shown: np.ndarray, step_s: float) -> None:
    """An ellipse or a box that wanders through the pictures (n, 36, 64, 3), in place."""
    count = len(shown)
    wide = rng.uniform(0.08, 0.55) * HEIGHT
    high = wide * rng.uniform(0.5, 2)
    skin = texture(rng, HEIGHT, WIDTH) if rng.random() < 0.5 else rng.uniform(0, 255, 3)
    skin = np.broadcast_to(np.asarray(skin, np.float32), (HEIGHT, WIDTH, 3))
    x = rng.uniform(0, WIDTH) + _course(
        rng, count, step_s, float(rng.choice([0.05, 0.2, 0.6, 1.5])) * WIDTH
    )
    y = rng.uniform(0, HEIGHT) + _course(
        rng, count, step_s, float(rng.choice([0.05, 0.2, 0.5])) * HEIGHT
    )
    size = np.exp(np.clip(_course(rng, count, step_s, 0.3 * rng.integers(0, 2)), -1, 1))
    round_one = rng.random() < 0.5
    for i in range(count):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        a, b = wide * size[i], high * size[i]
        centre = (x[i] % (2.4 * WIDTH) - 0.7 * WIDTH, y[i] % (2 * HEIGHT) - 0.5 * HEIGHT)
        if round_one:
            cv2.ellipse(mask, (centre, (2 * a, 2 * b), 0.0), 1, -1)
        else:
            corners = [(int(centre[0] + s * a), int(centre[1] + s * b)) for s in (-1, 1)]
            cv2.rectangle(mask, corners[0], corners[1], 1, -1)
        np.copyto(shown[i], skin, where=mask[..., None].astype(bool))


def _course(rng: np.random.Generator, count: int, step_s: float, scale: float) -> np.ndarray:
    """(count,) a smooth course that starts at 0: stretches of 0.3 to 4 s at a velocity of about `scale` a second,
    four in ten at rest."""
    velocity = np.zeros(count)
    at = 0
    while at < count:
        length = max(1, int(rng.uniform(0.3, 4) / step_s))
        velocity[at : at + length] = 0 if rng.random() < 0.4 else rng.normal(0, scale)
        at += length
    smooth = cv2.blur(velocity[None], (2 * max(1, int(0.3 / step_s)) + 1, 1))[0]
    return np.asarray(np.cumsum(smooth) * step_s)
