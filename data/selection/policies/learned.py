"""Frames by what a selector has learned: values of frames, or events it expects.

- `allocate`: the budget is spread as by `scene`, where a shot is worth what its frames are worth.
- `topn`: the N frames of the highest value, each for itself: the semi-optimal policy (arXiv 2409.05260).
- `proposals`: the most likely events, one frame each, then further ones.
"""

from __future__ import annotations

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.learned.events import proposals
from data.selection.learned.selector import selector_of
from data.selection.learned.ticks import ticks_of
from data.selection.learned.values import values_of
from data.selection.measure.signals import Signals
from data.selection.policies.ranking import selection, spread_ranks
from data.selection.policies.scene import scene


def learned(signals: Signals, keys: FrameKeys) -> Selection:
    """See the module's docstring."""
    found = selector_of(keys)
    ticks = ticks_of(signals, found.network.boundaries)
    if keys.method == "proposals":
        events = proposals(found.network.events, ticks, keys.max)
        placed = []
        for place, event in enumerate(events):
            inside = np.flatnonzero(
                (ticks.times_s >= event.start_s) & (ticks.times_s <= event.end_s)
            )
            share = -(-keys.max // len(events))
            wanted = inside[((np.arange(share) + 0.5) * len(inside) / share).astype(int)]
            depths = spread_ranks(share)
            placed += [
                (d, place, int(ticks.frames[i])) for d, i in zip(depths, wanted, strict=True)
            ]
        best = list(dict.fromkeys(frame for _, _, frame in sorted(placed)))
        return selection(signals, [(frame, "event") for frame in best[: keys.max]])
    values = values_of(found.network.values, ticks)  # (T,)
    if keys.method == "topn":
        best_first = np.argsort(-np.round(values, 6), kind="stable")[: keys.max]
        return selection(signals, [(int(ticks.frames[i]), "value") for i in best_first])
    every = np.arange(len(signals.times_s))
    return scene(signals, keys, worth=values[ticks.nearest(every)])
