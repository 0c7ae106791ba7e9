"""Frames by what a selector has learned: values of frames, or events it expects.

- `allocate`: the frames of the highest value together. What a frame has shown, those after it show again until
  the next cut, less and less: the budget is spread over shots as by `scene`, and each frame is worth what it adds.
- `topn`: the N frames of the highest value, each for itself: the semi-optimal policy (arXiv 2409.05260).
- `proposals`: the most likely events, one frame each, then further ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.learned.events import Proposal, proposals
from data.selection.learned.network import network_named
from data.selection.learned.selector import selector_of
from data.selection.learned.ticks import Ticks, ticks_of
from data.selection.learned.values import values_of
from data.selection.measure.played import played_s
from data.selection.measure.signals import Signals
from data.selection.policies.allocate import allocate
from data.selection.policies.boundaries import cut_probability, find_boundaries
from data.selection.policies.ranking import selection, spread_ranks


def learned(signals: Signals, keys: FrameKeys) -> Selection:
    """See the module's docstring."""
    found = selector_of(keys)
    network = network_named(found.name)
    ticks = ticks_of(signals, found.boundaries)
    if keys.method == "proposals":
        return _by_events(signals, ticks, proposals(network.events, ticks, keys.max), keys)
    values, hazard = values_of(network.values, ticks)  # (T,), (T,)
    if keys.method == "topn":
        best_first = np.argsort(-np.round(values, 6), kind="stable")[: keys.max]
        return selection(signals, [(int(ticks.frames[i]), "value") for i in best_first])
    changes = find_boundaries(signals, keys)
    times_s = played_s(signals.times_s)
    chosen, ranks = allocate(
        cut_probability(changes, len(signals.times_s)),
        signals.times_s,
        ticks.frames,
        keys.max,
        background=np.interp(times_s - times_s[0], ticks.times_s, hazard),
        worth=values,
    )
    order = chosen[np.argsort(ranks)]  # best first
    return selection(signals, [(int(frame), "value") for frame in order])


def _by_events(
    signals: Signals, ticks: Ticks, events: Sequence[Proposal], keys: FrameKeys
) -> Selection:
    """A frame of each event, the likeliest first, then a second one of each, until the budget is spent."""
    share = -(-keys.max // len(events))
    depths = spread_ranks(share)
    placed = []
    for place, event in enumerate(events):
        inside = np.flatnonzero((ticks.times_s >= event.start_s) & (ticks.times_s <= event.end_s))
        wanted = inside[((np.arange(share) + 0.5) * len(inside) / share).astype(int)]
        placed += [(d, place, int(ticks.frames[i])) for d, i in zip(depths, wanted, strict=True)]
    best = list(dict.fromkeys(frame for _, _, frame in sorted(placed)))
    return selection(signals, [(frame, "event") for frame in best[: keys.max]])
