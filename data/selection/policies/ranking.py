"""Shared by the policies: turns chosen frame indices into a Selection, and ranks equal frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data.sample import Selection
from data.selection.measure.signals import Signals


def selection(
    signals: Signals, chosen: Sequence[tuple[int, str]], *, spread: bool = False
) -> Selection:
    """Chosen (frame index, reason) pairs, best first → a Selection in time order.

    `spread=True`: the frames are of equal value; they are ranked by `spread_ranks` instead.
    """
    ranks = spread_ranks(len(chosen)) if spread else list(range(len(chosen)))
    rows = sorted((int(i), reason, rank) for (i, reason), rank in zip(chosen, ranks, strict=True))
    return Selection(
        times_s=tuple(float(signals.times_s[i]) for i, _, _ in rows),
        reasons=tuple(reason for _, reason, _ in rows),
        ranks=tuple(rank for _, _, rank in rows),
        duration_s=signals.duration_s,
    )


def in_order(signals: Signals, frames: Iterable[int], reason: str) -> Selection:
    """A Selection of frames of equal value with one reason, ranked by `spread_ranks`."""
    return selection(signals, [(i, reason) for i in sorted(set(map(int, frames)))], spread=True)


def spread_ranks(count: int) -> list[int]:
    """Ranks by van der Corput's sequence: for any n, the n best ranks cover the span about evenly."""
    bits = max(1, (count - 1).bit_length())
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits)]
    ranks = [0] * count
    for rank, i in enumerate(i for i in order if i < count):
        ranks[i] = rank
    return ranks
