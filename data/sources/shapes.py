"""The outlines of the micro-world's shapes."""

from __future__ import annotations

import numpy as np


def outline(shape: str, turn: float) -> np.ndarray:
    """(P, 2) corners of a shape on the unit disc, turned by `turn` radians."""
    if shape == "circle":
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners = {
        "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
        "triangle": [(0, -1), (0.95, 0.8), (-0.95, 0.8)],
        "cross": [
            (-0.3, -1),
            (0.3, -1),
            (0.3, -0.3),
            (1, -0.3),
            (1, 0.3),
            (0.3, 0.3),
            (0.3, 1),
            (-0.3, 1),
            (-0.3, 0.3),
            (-1, 0.3),
            (-1, -0.3),
            (-0.3, -0.3),
        ],
    }[shape]
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(corners) @ np.array([[cos, sin], [-sin, cos]])
