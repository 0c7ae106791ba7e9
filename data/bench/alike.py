"""How much of a chosen frame was in the one before? DiffFP and other pruning leave such places out of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.selection.choose import choose_frames
from data.selection.config import FrameKeys

SIDE, CELLS = 512, 8
"""Of the square that 256M and 500M look at, and of the grid of its tokens."""
LEVELS = (0.05, 1.0, 2.0, 4.0)
"""Mean difference of a cell, in grey levels: VideoLLaMA3's threshold, and larger ones, of which 4 can be seen."""
CHOICES = {
    "scene, 16 frames": FrameKeys(max=16, window_s=None),
    "scene, 32 frames": FrameKeys(max=32, window_s=None),
    "uniform, 32 frames": FrameKeys(policy="uniform", max=32, window_s=None),
    "2 frames a second": FrameKeys(policy="fps", fps=2, max=1024, window_s=None),
}


def share_alike(paths: Sequence[str]) -> dict[str, float]:
    """Flat figures: `scene, 16 frames/below_1`, the share of cells that differ by less than 1 grey level from the frame
    before; prints a table."""
    figures: dict[str, float] = {}
    for name, keys in CHOICES.items():
        apart: list[np.ndarray] = []
        for path in tqdm(paths, desc=name, unit="video"):
            frames = choose_frames(path, keys).images()
            grey = [_cells(image) for image in frames]
            apart += [np.abs(b - a).mean(axis=(1, 3)).ravel() for a, b in pairwise(grey)]
        every = np.concatenate(apart)
        figures |= {f"{name}/below_{level:g}": float((every < level).mean()) for level in LEVELS}
        figures[f"{name}/cells"] = len(every)
    return figures


def _cells(image: Image.Image) -> np.ndarray:
    """(CELLS, H, CELLS, W) luma of the square that a model looks at."""
    square = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    each = SIDE // CELLS
    return square.astype(np.float32).reshape(CELLS, each, CELLS, each)


def table(figures: dict[str, float]) -> str:
    """A Markdown table of `share_alike`."""
    heads = " | ".join(f"below {level:g}" for level in LEVELS)
    lines = [f"| frames | {heads} |", "|---|" + "---|" * len(LEVELS)]
    for name in CHOICES:
        cells = [f"{figures[f'{name}/below_{level:g}']:.1%}" for level in LEVELS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
