"""Frames by what a selector has learned: values of frames, or events it expects.

- `allocate`: the frames of the highest value together. What a frame has shown, those after it show again until
  the next cut, less and less: the budget is spread over shots as by `scene`, and each frame is worth what it adds.
  Where that is hardly worth more than what `scene` chooses, that is taken.
- `topn`: the N frames of the highest value, each for itself: the semi-optimal policy (arXiv 2409.05260).
- `proposals`: the most likely events, one frame each, then further ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.learned.events import Proposal, proposals
from data.selection.learned.network import network_named
from data.selection.learned.selector import selector_of
from data.selection.learned.ticks import Ticks, ticks_of
from data.selection.learned.values import values_of, worth_of
from data.selection.measure.played import played_s
from data.selection.measure.signals import Signals
from data.selection.policies.allocate import allocate, cumulative
from data.selection.policies.boundaries import cut_probability, find_boundaries
from data.selection.policies.ranking import selection, spread_ranks
from data.selection.policies.scene import scene


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
    both = rule_and_learned(signals, keys, ticks, values, hazard)
    return both.learned if both.gain >= float(network.values.margin) else both.rule


@dataclass(frozen=True)
class RuleAndLearned:
    """What `scene` chooses, and what the learned values do."""

    rule: Selection
    learned: Selection
    gain: float
    """How much more the second is worth by these values, per frame of the budget."""


def rule_and_learned(
    signals: Signals, keys: FrameKeys, ticks: Ticks, values: np.ndarray, hazard: np.ndarray
) -> RuleAndLearned:
    """Both choices.

    Args:
        values, hazard: (T,) of the ticks, as `values_of` gives them.
    """
    changes = find_boundaries(signals, keys)
    times_s = played_s(signals.times_s)
    cuts = cut_probability(changes, len(times_s))
    within = np.interp(times_s - times_s[0], ticks.times_s, hazard)  # (N,)
    chosen, ranks = allocate(
        cuts, signals.times_s, ticks.frames, keys.max, background=within, worth=values
    )
    order = chosen[np.argsort(ranks)]  # best first
    own = selection(signals, [(int(frame), "value") for frame in order])
    rule = scene(signals, keys.model_copy(update={"policy": "scene"}))  # with its own boundaries
    changed = cumulative(cuts) + within  # (N,)

    def worth(choice: Selection) -> float:
        frames = np.searchsorted(signals.times_s, choice.times_s)  # (K,)
        apart = np.abs(times_s[frames][:, None] - times_s[0] - ticks.times_s)  # (K, T)
        return worth_of(values[apart.argmin(axis=1)], changed[frames])

    return RuleAndLearned(rule, own, (worth(own) - worth(rule)) / keys.max)


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
