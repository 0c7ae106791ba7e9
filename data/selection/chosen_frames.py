"""The frames of one video, chosen and encoded."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from data.config import ROOT
from data.sample import Repair
from data.target import clock

JPEG_QUALITY = 92


@dataclass(frozen=True)
class ChosenFrames:
    """The frames of one video as a policy chose them, encoded for storing."""

    jpegs: tuple[bytes, ...]
    times_s: tuple[float, ...]
    reasons: tuple[str, ...]
    ranks: tuple[int, ...]
    duration_s: float
    decoded_share: float
    unseen_s: float
    """Longest gap between two decoded frames: how far off a shot boundary can be."""
    repairs: tuple[Repair, ...] = ()
    """What was repaired in the file's timestamps and pictures."""
    black_share: float | None = None
    """Of the frames of the video, or of the window (`data.selection.measure.dull`)."""
    still_share: float | None = None
    part_s: tuple[float, float] | None = None
    """Start and end of the window of the video that they show; None: all of it."""

    def __len__(self) -> int:
        return len(self.jpegs)

    def __repr__(self) -> str:
        times = ", ".join(f"{t:.1f}" for t in self.times_s[:8]) + ", …" * (len(self) > 8)
        return f"ChosenFrames({len(self)} frames of {self.duration_s:.1f} s: {times} s)"

    def images(self) -> list[Image.Image]:
        """The frames as RGB pictures."""
        return [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in self.jpegs]

    def html(self, title: str, text: str = "", events: Sequence[Mapping[str, Any]] = ()) -> str:
        """A piece of HTML: what is said of the frames, a timeline of it, and the frames with their times."""
        from data.pages.render import data_url, render  # jinja2: only where somebody looks

        frames = [
            {
                "picture": data_url(jpeg),
                "time": f"{time_s:.1f} s",
                "time_s": time_s,
                "reason": reason,
            }
            for jpeg, time_s, reason in zip(self.jpegs, self.times_s, self.reasons, strict=True)
        ]
        return render(
            ROOT / "data/pages/frames.html",
            title=title,
            text=text,
            events=events,
            frames=frames,
            duration_s=self.duration_s,
            clock=clock,
        )

    def _repr_html_(self) -> str:
        return self.html(repr(self))


def jpeg_of(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
