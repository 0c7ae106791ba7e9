"""Trains the values of frames: to rank subsets as the describer's losses do, or by reinforcement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.nn import functional

from data.selection.learned.network import TickNet, ValueNet
from data.selection.learned.values import cumulative_hazard
from train.inference.answer_loss import Case, Describer, Subset
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


def values_of_subsets(
    numbers: torch.Tensor, video: PoolVideo, subsets: Sequence[Subset]
) -> torch.Tensor:
    """(S,) values of subsets, as `data.selection.policies.allocate` adds them up: each frame's own value (0 to 1),
    less the share that the frame before it has shown already. That share is the probability that nothing changed
    between the two.

    Args:
        numbers: (T, 3) of the video's ticks.
    """
    own = numbers[torch.from_numpy(video.at), 0].sigmoid()  # (M,)
    within = cumulative_hazard(numbers, torch.from_numpy(video.ticks.times_s))
    hazard = torch.from_numpy(video.shots).float() + within[torch.from_numpy(video.at)]  # (M,)
    most = max(map(len, subsets))
    places = torch.tensor([[*s, *(s[-1:] * (most - len(s)))] for s in subsets])  # (S, K)
    # a frame that fills the row up repeats the last one: nothing changed, it adds nothing
    repeated = torch.exp(hazard[places[:, :-1]] - hazard[places[:, 1:]])
    values = own[places]
    return values.sum(dim=1) - (values[:, 1:] * repeated).sum(dim=1)


def rank_loss(network: ValueNet, batch: Sequence[Judged]) -> torch.Tensor:
    """Logistic loss of all pairs of subsets of one size of a video: the one with the lower loss of the describer is
    to have the higher value. A pair counts as much as its losses differ. `told_loss` is added."""
    total, weight = torch.zeros(()), torch.zeros(())
    videos = [one.video for one in batch]
    every = numbers_of(network, videos)
    for one, numbers in zip(batch, every, strict=True):
        values = values_of_subsets(numbers, one.video, one.subsets)  # (S,)
        losses = torch.tensor(one.losses)
        losses = losses / (losses.std(correction=0) + 1e-6)
        sizes = torch.tensor([len(s) for s in one.subsets])
        lead = (losses[None] - losses[:, None]) * (sizes[None] == sizes[:, None]).triu(1)  # (S, S)
        apart = values[:, None] - values[None]
        total = total + (lead.abs() * functional.softplus(-lead.sign() * SHARPNESS * apart)).sum()
        weight = weight + lead.abs().sum()
    return total / weight.clamp(min=1e-6) + told_loss(every, videos)


SHARPNESS = 4.0
"""Of the logistic loss: a difference of a quarter of a frame's value counts as one."""


def told_loss(every: Sequence[torch.Tensor], videos: Sequence[PoolVideo]) -> torch.Tensor:
    """Cross-entropy of the third number of each tick: whether an event of the timeline covers it. 0 where no video
    has events."""
    found = [
        functional.binary_cross_entropy_with_logits(numbers[:, 2], told_of(video))
        for numbers, video in zip(every, videos, strict=True)
        if video.row["events"]
    ]
    return torch.stack(found).mean() if found else torch.zeros(())


def told_of(video: PoolVideo) -> torch.Tensor:
    """(T,) 1 for ticks that an event covers, else 0."""
    times_s = video.ticks.times_s + float(video.row["start_s"])
    told = np.zeros(len(times_s), np.float32)
    for event in video.row["events"]:
        told[(times_s >= event["start_s"]) & (times_s <= event["end_s"])] = 1
    return torch.from_numpy(told)


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE with subsets drawn from the values by Plackett–Luce: without replacement, each next frame with a
    probability in proportion to the exponential of its logit. The reward is minus the describer's loss; the
    baseline of a subset is the mean reward of the other subsets of its video (leave one out). `told_loss` is
    added."""

    network: ValueNet
    reward: Callable[[Sequence[Case]], torch.Tensor]
    features: Callable[[PoolVideo], torch.Tensor]
    budgets: Sequence[int]
    seed: int

    def loss(self, batch: Drawn[PoolVideo]) -> torch.Tensor:
        rng = np.random.default_rng([self.seed, batch.step])
        cases: list[Case] = []
        likelihoods: list[torch.Tensor] = []
        every = numbers_of(self.network, batch.videos)
        for video, numbers in zip(batch.videos, every, strict=True):
            logits = numbers[torch.from_numpy(video.at), 0]  # (M,)
            size = min(int(rng.choice(self.budgets)), len(logits))
            features = self.features(video)
            for _ in range(SAMPLES):
                noise = torch.from_numpy(rng.uniform(1e-9, 1 - 1e-9, len(logits)))
                order = (logits.detach() - torch.log(-torch.log(noise))).topk(size).indices
                likelihoods.append(plackett_luce(logits, order))
                cases.append(Case(video.row, features, tuple(sorted(order.tolist()))))
        rewards = self.reward(cases).reshape(len(batch.videos), SAMPLES)
        others = (rewards.sum(dim=1, keepdim=True) - rewards) / (SAMPLES - 1)
        advantage = rewards - others
        advantage = advantage / (advantage.std() + 1e-6)
        chances = torch.stack(likelihoods).reshape(len(batch.videos), SAMPLES)
        return told_loss(every, batch.videos) - (advantage * chances).mean()


def plackett_luce(logits: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability that `order` (K,) is drawn without replacement from `logits` (M,)."""
    left = set(range(len(logits)))
    total = torch.zeros(())
    for i in order.tolist():
        total = total + logits[i] - logits[sorted(left)].logsumexp(dim=0)
        left.remove(i)
    return total


def batches_of(
    pool: Sequence[Item],
    vary: Callable[[Item, np.random.Generator], Item],
    size: int,
    seed: int,
    steps: int,
    start: int,
) -> Iterator[Drawn[Item]]:
    """From step `start` on, the videos of every step, each varied; the same after a resume as without one."""
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        chosen = rng.choice(len(pool), min(size, len(pool)), replace=False)
        yield Drawn(step, tuple(vary(pool[i], rng) for i in chosen))


def reward_of(describer: Describer, batch: int) -> Callable[[Sequence[Case]], torch.Tensor]:
    """Minus the loss of the describer's answer, (C,)."""

    def reward(cases: Sequence[Case]) -> torch.Tensor:
        return -describer.losses(cases, batch)

    return reward
