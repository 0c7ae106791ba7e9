"""Do a row's times fit its pictures? Where an event begins or ends, the pictures before and after it should differ.

No model is asked. Each pair of neighbouring frames is one gap: it shows a change or not, and an event begins or ends in
it or not. How many gaps agree is compared with the same events turned round the video by eighths of it: where they begin
and end has then nothing to do with what is seen, while their number, and that of changes, stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.curation.looks import looks_of, reduced
from data.selection.grids import is_whole

TURNS = 8
CHANGED = 0.5
"""Two frames differ by 1 less the cosine of their looks; from here on, all has changed."""


def fit_of(row: Mapping[str, Any]) -> float | None:
    """How much better the times of a row fit the changes of its pictures than turned ones: -1 … 1, about 0 where they
    have nothing to do with each other. None: there is one whole frame, or no event begins or ends within the row.

    Args:
        row: a prepared row, its frames as {"bytes": a JPEG}.
    """
    low, high = float(row["start_s"]), float(row["end_s"])
    ends_s = np.array([t for e in row["events"] for t in (e["start_s"], e["end_s"])], float)
    ends_s = ends_s[(ends_s > low) & (ends_s < high)]  # (E,)
    whole = [i for i, reason in enumerate(row["reasons"]) if is_whole(reason)]
    if len(whole) < 2 or not len(ends_s):
        return None
    looks = np.stack([looks_of(reduced(row["frames"][i]["bytes"])) for i in whole])  # (M, 96)
    cosines = (looks[1:] * looks[:-1]).sum(axis=1)  # (M - 1,)
    changes = np.clip((1 - cosines) / CHANGED, 0, 1)
    times_s = np.array([row["times_s"][i] for i in whole], float)
    own, *turned = (
        _agreement(changes, times_s, low + (ends_s - low + (high - low) * k / TURNS) % (high - low))
        for k in range(TURNS)
    )
    return float(own - np.mean(turned))


def _agreement(changes: np.ndarray, times_s: np.ndarray, ends_s: np.ndarray) -> float:
    """Mean over gaps (M - 1,): the change where an event begins or ends, 1 less the change where none does."""
    gaps = np.searchsorted(times_s, ends_s) - 1  # an event that begins at a frame is seen in it
    told = np.isin(np.arange(len(changes)), gaps)
    return float(np.where(told, changes, 1 - changes).mean())
