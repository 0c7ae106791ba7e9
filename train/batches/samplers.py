"""Samplers: the order of samples, and which of them share a batch. Seed and epoch alone decide both,
so that a resumed run continues where it stopped."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset as Table
from torch.utils.data import Dataset, Sampler

from data.errors import UserError
from train.batches.dataset import Sets
from train.batches.stream import ShardShuffleSampler
from train.run.schedule import steps_per_epoch
from train.run.state import Ordering, devices
from train.sections import DataKeys, TrainKeys

LIKE_TOKENS = 32
"""Lengths are rounded up to a multiple of it before packing; samples of equal rounded length are shuffled."""
GROUPED_STEPS = 50
"""Window, in optimizer steps, within which samples are sorted by length."""


class LengthGroupedSampler(Sampler[int]):
    """Samples of an optimizer step are about equally long; the steps come in random order."""

    def __init__(self, lengths: Sequence[int], *, step: int, seed: int):
        """`step`: samples of one optimizer step on all devices."""
        self._lengths, self._step, self._seed = lengths, step, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed} {self.epoch}")
        order = list(range(len(self._lengths)))
        draw.shuffle(order)
        size = GROUPED_STEPS * self._step
        steps: list[list[int]] = []
        for start in range(0, len(order), size):
            alike = sorted(order[start : start + size], key=self._lengths.__getitem__)
            steps += [alike[i : i + self._step] for i in range(0, len(alike), self._step)]
        short = [steps.pop(i) for i in range(len(steps) - 1, -1, -1) if len(steps[i]) < self._step]
        draw.shuffle(steps)  # an incomplete step stays last, or it would shift all steps after it
        for step in [*steps, *short]:
            yield from step


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of samples by best fit, longest first: each sample goes into the fullest bin with room for it.

    Raises:
        ValueError: a sample is longer than a bin.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, bin), sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lengths[i] > capacity:
            raise ValueError(f"a sample of {lengths[i]} tokens, in bins of {capacity}")
        at = bisect_left(room, (lengths[i], -1))
        if at == len(room):
            bins.append([i])
            insort(room, (capacity - lengths[i], len(bins) - 1))
        else:
            left, number = room.pop(at)
            bins[number].append(i)
            insort(room, (left - lengths[i], number))
    return bins


class PackSampler(Sampler[tuple[int, ...]]):
    """Packs of samples; the members of a pack and the order of packs change with the epoch.

    The lengths in each pack are decided once. Each epoch shuffles the samples of equal rounded length.
    So every epoch has the same number of packs, and none exceeds `capacity`.
    """

    def __init__(
        self, lengths: Sequence[int], capacity: int, *, seed: int = 0, shuffle: bool = True
    ):
        self._like = [min(capacity, -(-n // LIKE_TOKENS) * LIKE_TOKENS) for n in lengths]
        self._bins = pack(self._like, capacity)
        self._seed, self._shuffle = seed, shuffle
        self.fill = sum(lengths) / (len(self._bins) * capacity)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._bins)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        if not self._shuffle:
            yield from map(tuple, self._bins)
            return
        draw = random.Random(f"{self._seed} {self.epoch}")
        alike: dict[int, list[int]] = {}
        for i, like in enumerate(self._like):
            alike.setdefault(like, []).append(i)
        for members in alike.values():
            draw.shuffle(members)
        bins = [tuple(alike[self._like[i]].pop() for i in one) for one in self._bins]
        draw.shuffle(bins)
        yield from bins


Order = LengthGroupedSampler | PackSampler | ShardShuffleSampler
"""A sampler whose order depends on the epoch."""


class PackedDataset(Dataset[list[dict[str, Any]]]):
    """A dataset that returns a pack of samples at a time. Its length is the number of packs, by which
    accelerate drops the items that it repeats in the last batch."""

    def __init__(self, samples: Table, packs: int):
        self.samples, self._packs = samples, packs

    def __len__(self) -> int:
        return self._packs

    def __getitem__(self, positions: tuple[int, ...]) -> list[dict[str, Any]]:
        return list(self.samples.__getitems__(list(positions)))


def padding_share(batches: Sequence[Sequence[int]]) -> float:
    """Share of tokens that are padding, given the sample lengths in each batch."""
    padded = sum(max(batch) * len(batch) for batch in batches)
    return 1 - sum(map(sum, batches)) / padded


@dataclass(frozen=True)
class Orders:
    """The samplers of training and held-out samples."""

    train: Order | None
    """None: the library's random order."""
    evaluation: PackSampler | None
    steps_per_epoch: int


def check_packs(lengths: Sequence[int], pack_tokens: int) -> None:
    """
    Raises:
        UserError: a sample is longer than a pack.
    """
    if (longest := max(lengths)) > pack_tokens:
        raise UserError(
            f"train.pack_tokens={pack_tokens}: the longest sample has {longest} tokens; raise it, "
            f"or shorten samples with data.max_tokens={pack_tokens}"
        )


def orders_of(train: TrainKeys, data: DataKeys, sets: Sets, ordering: Ordering) -> Orders:
    """The samplers of a run.

    Raises:
        UserError: a sample is longer than a pack.
    """
    lengths = sets.survey.tokens
    order: Order | None = None
    held: PackSampler | None = None
    if ordering.kind == "packed":
        check_packs((*lengths, *sets.eval_tokens), train.pack_tokens)
        if sets.eval_tokens:
            held = PackSampler(sets.eval_tokens, train.pack_tokens, shuffle=False)
        order = PackSampler(lengths, train.pack_tokens, seed=train.seed)
    elif ordering.kind == "streamed":
        assert sets.groups is not None
        order = ShardShuffleSampler(
            sets.groups,
            batch=ordering.batch,
            lanes=ordering.lanes,
            buffer_rows=data.shuffle_buffer,
            seed=train.seed,
        )
    elif ordering.kind == "grouped":
        order = LengthGroupedSampler(lengths, step=ordering.step, seed=train.seed)
    per_epoch = steps_per_epoch(train, len(order or sets.train), devices())
    return Orders(order, held, per_epoch)
