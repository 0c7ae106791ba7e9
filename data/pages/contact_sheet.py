"""The frames of a sample side by side in one picture."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from PIL import Image

from data.pages.render import data_url
from data.target import clock

T = TypeVar("T")
MOST = 64
"""Frames of a long video that are shown, evenly spaced."""


def frames_of(windows: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
    """Frames of a sample and their times, from the rows of all its windows: at most `MOST` if it has several."""
    frames: list[dict[str, Any]] = []
    times_s: list[float] = []
    count = 0
    for row in windows:
        count += 1
        frames += row["frames"]
        times_s += row["times_s"]
    if count > 1:
        return list(thinned(frames)), list(thinned(times_s))
    return frames, times_s


def thinned(items: Sequence[T]) -> Sequence[T]:
    """At most `MOST` of them, evenly spaced."""
    return items[:: max(1, -(-len(items) // MOST))]


def sheet_values(
    frames: Sequence[Mapping[str, Any]], times_s: Sequence[float], width_px: int
) -> dict[str, Any]:
    """`picture`, `width_px` and `times` of a contact sheet, for a template."""
    sheet = contact_sheet(thinned(frames), width_px)
    picture = io.BytesIO()
    sheet.save(picture, "JPEG", quality=80)
    return {
        "picture": data_url(picture.getvalue()),
        "width_px": sheet.width,
        "times": " · ".join(clock(time_s) for time_s in thinned(times_s)),
    }


def contact_sheet(frames: Sequence[Mapping[str, Any]], width_px: int) -> Image.Image:
    """One picture of all frames, each `width_px` wide and as high as the first frame."""
    pictures: list[Image.Image] = []
    for frame in frames:
        with Image.open(io.BytesIO(frame["bytes"])) as image:
            height_px = max(1, min(2 * width_px, round(image.height * width_px / image.width)))
            pictures.append(image.convert("RGB").resize((width_px, height_px)))
    whole = Image.new("RGB", (width_px * len(pictures), pictures[0].height))
    for k, picture in enumerate(pictures):
        whole.paste(picture, (k * width_px, 0))
    return whole
