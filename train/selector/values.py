"""Trains the values of frames: to rank subsets as the describer's losses do, or by reinforcement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.nn import functional

from data.selection.learned.network import TickNet, ValueNet
from train.selector.describer import Case, Describer, Subset
from train.selector.pool import PoolVideo
from train.selector.subsets import Judged

Item = TypeVar("Item")
SAMPLES = 4
"""Subsets that `reinforce` draws of a video at a time: each is compared with the mean of the others."""


@dataclass(frozen=True)
class Drawn(Generic[Item]):
    """The videos of a step."""

    step: int
    videos: tuple[Item, ...]


def numbers_of(network: TickNet, videos: Sequence[PoolVideo]) -> list[torch.Tensor]:
    """(T, n) the network's numbers for the ticks of each video."""
    longest = max(len(v.ticks) for v in videos)

    def padded(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        sides = [((0, longest - len(a)), *((0, 0),) * (a.ndim - 1)) for a in arrays]
        rows = [np.pad(a, side) for a, side in zip(arrays, sides, strict=True)]
        return torch.from_numpy(np.stack(rows)).float()

    lengths = torch.tensor([len(v.ticks) for v in videos])
    numbers = network(
        padded([v.ticks.told for v in videos]),
        padded([v.ticks.pictures for v in videos]),
        padded([v.ticks.times_s for v in videos]),
        torch.arange(longest)[None] >= lengths[:, None],
    )  # (B, T, n)
    return [numbers[i, : len(v.ticks)] for i, v in enumerate(videos)]


def logits_of(network: ValueNet, videos: Sequence[PoolVideo]) -> list[torch.Tensor]:
    """(M,) logits of the value of each pool frame of each video."""
    found = zip(numbers_of(network, videos), videos, strict=True)
    return [numbers[torch.from_numpy(video.at), 0] for numbers, video in found]


def value_of(logits: torch.Tensor, hazard: torch.Tensor, subset: Subset) -> torch.Tensor:
    """The value of a subset, as `data.selection.policies.allocate` adds it up: each frame's own value (0 to 1), less
    the share that the frame before it has shown already. That share is the probability that nothing changed
    between the two, by their cumulative `hazard` (M,)."""
    chosen = list(subset)
    values = logits[chosen].sigmoid()
    repeated = torch.exp(hazard[chosen[:-1]] - hazard[chosen[1:]])
    return values.sum() - (values[1:] * repeated).sum()


def hazard_of(network: ValueNet, video: PoolVideo) -> torch.Tensor:
    """(M,) cumulative hazard of changes at the pool's frames: of shot boundaries, and within shots."""
    shots = torch.from_numpy(video.shots).float()
    times_s = torch.from_numpy(video.ticks.times_s[video.at]).float()
    return shots + network.rate * times_s


def rank_loss(network: ValueNet, batch: Sequence[Judged]) -> torch.Tensor:
    """Logistic loss of all pairs of subsets of one size of a video: the one with the lower loss of the describer is
    to have the higher value. A pair counts as much as its losses differ."""
    total, weight = torch.zeros(()), 0.0
    for one, logits in zip(batch, logits_of(network, [b.video for b in batch]), strict=True):
        hazard = hazard_of(network, one.video)
        values = [value_of(logits, hazard, subset) for subset in one.subsets]
        spread = float(np.std(one.losses)) + 1e-6
        for a, b in combinations(range(len(values)), 2):
            if len(one.subsets[a]) != len(one.subsets[b]):
                continue
            lead = (one.losses[b] - one.losses[a]) / spread
            total = total + abs(lead) * functional.softplus(
                -np.sign(lead) * SHARPNESS * (values[a] - values[b])
            )
            weight += abs(lead)
    return total / max(weight, 1e-6)


SHARPNESS = 4.0
"""Of the logistic loss: a difference of a quarter of a frame's value counts as one."""


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE with subsets drawn from the values by Plackett–Luce: without replacement, each next frame with a
    probability in proportion to the exponential of its logit. The reward is minus the describer's loss; the
    baseline of a subset is the mean reward of the other subsets of its video (leave one out)."""

    network: ValueNet
    reward: Callable[[Sequence[Case]], torch.Tensor]
    features: Callable[[PoolVideo], torch.Tensor]
    budgets: Sequence[int]
    seed: int

    def loss(self, batch: Drawn[PoolVideo]) -> torch.Tensor:
        rng = np.random.default_rng([self.seed, batch.step])
        cases: list[Case] = []
        likelihoods: list[torch.Tensor] = []
        for video, logits in zip(batch.videos, logits_of(self.network, batch.videos), strict=True):
            size = min(int(rng.choice(self.budgets)), len(logits))
            features = self.features(video)
            for _ in range(SAMPLES):
                noise = torch.from_numpy(rng.uniform(1e-9, 1 - 1e-9, len(logits)))
                order = (logits.detach() - torch.log(-torch.log(noise))).topk(size).indices
                likelihoods.append(plackett_luce(logits, order))
                cases.append(Case(video, features, tuple(sorted(order.tolist()))))
        rewards = self.reward(cases).reshape(len(batch.videos), SAMPLES)
        others = (rewards.sum(dim=1, keepdim=True) - rewards) / (SAMPLES - 1)
        advantage = rewards - others
        advantage = advantage / (advantage.std() + 1e-6)
        chances = torch.stack(likelihoods).reshape(len(batch.videos), SAMPLES)
        return -(advantage * chances).mean()


def plackett_luce(logits: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability that `order` (K,) is drawn without replacement from `logits` (M,)."""
    left = set(range(len(logits)))
    total = torch.zeros(())
    for i in order.tolist():
        total = total + logits[i] - logits[sorted(left)].logsumexp(dim=0)
        left.remove(i)
    return total


def batches_of(
    pool: Sequence[Item], size: int, seed: int, steps: int, start: int
) -> Iterator[Drawn[Item]]:
    """From step `start` on, the videos of every step; the same after a resume as without one."""
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        chosen = rng.choice(len(pool), min(size, len(pool)), replace=False)
        yield Drawn(step, tuple(pool[i] for i in chosen))


def reward_of(describer: Describer, batch: int) -> Callable[[Sequence[Case]], torch.Tensor]:
    """Minus the loss of the describer's answer, (C,)."""

    def reward(cases: Sequence[Case]) -> torch.Tensor:
        parts = [describer.losses(cases[i : i + batch]) for i in range(0, len(cases), batch)]
        return -torch.cat(parts)

    return reward
