"""How sure must a selector be? Learned values are worth their cost only where they know better than the rule.

On videos that were not learned from, frames are chosen by `scene` and by the values, and the describer tells both. The
margin is how much more worth, per frame, the values must see in their own choice for it to be taken.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data.prepared.dataset import Prepared
from data.sample import Sample, Selection
from data.selection.choose import recorded_keys
from data.selection.config import FrameKeys
from data.selection.learned.network import network_named
from data.selection.learned.selector import selector_of
from data.selection.learned.ticks import ticks_of
from data.selection.learned.values import values_of
from data.selection.measure.signals import Signals
from data.selection.policies.learned import rule_and_learned
from data.selection.policies.ranking import spread_ranks
from data.video.info import BadVideo
from train.inference.answer_loss import Case, Describer, Subset
from train.selector.pool import Pictured, measured_each, pictured

NEVER = 1.0
"""A margin that no gain reaches: the frames of `scene` are taken always."""


@dataclass(frozen=True)
class Compared:
    """The describer's losses with both choices: C windows, B budgets of frames."""

    gains: np.ndarray
    """(C, B) what the values see in their own choice more than in the rule's, per frame of the budget."""
    rule: np.ndarray
    """(C, B)"""
    learned: np.ndarray
    """(C, B)"""

    def losses(self, margin: float) -> np.ndarray:
        """(C, B) with that margin."""
        return np.where(self.gains >= margin, self.learned, self.rule)


@dataclass(frozen=True)
class BothOf:
    """A window with the frames of both choices, at several budgets."""

    video: Pictured
    choices: tuple[tuple[float, Subset, Subset], ...]
    """Of each budget: gain; numbers of the rule's frames, and of the learned ones."""


def compare(
    describer: Describer,
    dataset: Prepared,
    ids: Collection[str],
    selector: Path,
    budgets: Sequence[int],
    batch: int,
) -> Compared | None:
    """Both choices for these samples of a dataset, as the describer tells them; None if none of them can be used.

    Args:
        selector: the folder with the values.
    """
    own = recorded_keys(dataset.manifest["policy"])
    keys = FrameKeys(
        policy="learned", selector=str(selector), px=own.px, window_s=own.window_s, max=max(budgets)
    )
    gains, losses = [], []
    for _, both in measured_each(dataset, ids, partial(_both_of, keys=keys, budgets=budgets)):
        for one in both if isinstance(both, list) else ():
            features = describer.features(one.video.jpegs)
            subsets = [subset for _, *pair in one.choices for subset in pair]
            cases = [Case(one.video.row, features, subset) for subset in subsets]
            gains.append([gain for gain, _, _ in one.choices])
            losses.append(describer.losses(cases, batch).tolist())  # rule, learned, rule …
    if not gains:
        return None
    both_losses = np.array(losses)
    return Compared(np.array(gains), both_losses[:, ::2], both_losses[:, 1::2])


def _both_of(sample: Sample, keys: FrameKeys, budgets: Sequence[int]) -> list[BothOf] | str:
    """Both choices of a sample's windows, or why there are none. Runs in a worker."""
    found = selector_of(keys)
    network = network_named(found.name).values
    last: list[tuple[tuple[float, Subset, Subset], ...]] = []

    def choose(signals: Signals, keys: FrameKeys) -> Selection:
        """All frames of all choices."""
        ticks = ticks_of(signals, found.boundaries)
        values, hazard = values_of(network, ticks)
        each = [
            rule_and_learned(
                signals, keys.model_copy(update={"max": budget}), ticks, values, hazard
            )
            for budget in budgets
        ]
        times_s = sorted({t for both in each for t in (*both.rule.times_s, *both.learned.times_s)})
        place = {time_s: i for i, time_s in enumerate(times_s)}

        def subset(choice: Selection) -> Subset:
            return tuple(place[time_s] for time_s in choice.times_s)

        last[:] = [tuple((b.gain, subset(b.rule), subset(b.learned)) for b in each)]
        count = len(times_s)
        ranks = tuple(spread_ranks(count))
        return Selection(tuple(times_s), ("compared",) * count, ranks, signals.duration_s)

    try:
        return [BothOf(video, last[0]) for video in pictured(sample, keys, choose)]
    except BadVideo as error:
        return error.reason


def margin_of(compared: Compared) -> float:
    """The largest margin whose mean loss is within one standard error of the best one's (the one-standard-error rule,
    Breiman et al. 1984), and no worse than that of `scene` alone: where it makes no clear difference, `scene`
    chooses."""
    margins = np.unique(np.r_[0.0, np.maximum(compared.gains, 0.0).ravel(), NEVER])  # (M,)
    losses = np.stack([compared.losses(margin).mean(axis=1) for margin in margins])  # (M, C)
    worse = losses - losses[losses.mean(axis=1).argmin()]  # (M, C)
    error = worse.std(axis=1) / np.sqrt(worse.shape[1])
    mean = worse.mean(axis=1)
    return float(margins[np.flatnonzero((mean <= error) & (mean <= mean[-1]))[-1]])
