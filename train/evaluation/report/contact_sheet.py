"""The frames of a prepared row side by side in one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image


def contact_sheet(row: Mapping[str, Any], width_px: int) -> Image.Image:
    """One picture of all frames, each `width_px` wide and as high as the first frame."""
    pictures: list[Image.Image] = []
    for frame in row["frames"]:
        with Image.open(io.BytesIO(frame["bytes"])) as image:
            height_px = max(1, min(2 * width_px, round(image.height * width_px / image.width)))
            pictures.append(image.convert("RGB").resize((width_px, height_px)))
    whole = Image.new("RGB", (width_px * len(pictures), pictures[0].height))
    for k, picture in enumerate(pictures):
        whole.paste(picture, (k * width_px, 0))
    return whole
