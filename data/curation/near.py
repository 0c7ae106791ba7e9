"""Which videos may be copies of each other? Sorted neighbourhoods of their frames' hashes.

Hashes are sorted several times, by their bits in another random order each time, and each is compared with the next few:
similar ones are soon neighbours (Charikar 2002). Time and memory grow with the number of frames, however alike
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

DISTANCE = 6
"""Most bits of 64 in which two frames of one picture differ."""
ORDERS, REACH = 12, 12
MOST_PARTNERS = 40
"""Candidates of a video, those of most frames: a series of one studio has more that look alike."""


def candidates(
    hashes: Sequence[np.ndarray], mirrors: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """Increasing pairs of videos with a frame alike, as it is or mirrored.

    Args:
        hashes: (K,) uint64 of each video's frames.
        mirrors: the same of the frames mirrored.
    """
    count = len(hashes)
    owner = np.repeat(np.arange(count), [len(h) for h in hashes])
    every = np.concatenate([*hashes, *mirrors])  # (2 N,)
    owners = np.concatenate([owner, owner])
    plain = np.arange(len(every)) < len(owner)
    bits = np.unpackbits(every.view(np.uint8).reshape(-1, 8), axis=1)  # (2 N, 64)
    rng = np.random.default_rng(0)
    votes = np.zeros((2, 0), np.int64)
    for _ in range(ORDERS):
        packed = np.packbits(bits[:, rng.permutation(64)], axis=1)
        turned = np.ascontiguousarray(packed).view(">u8")[:, 0]
        order = np.argsort(turned, kind="stable")
        found = []
        for step in range(1, REACH + 1):
            a, b = order[:-step], order[step:]
            near = np.bitwise_count(every[a] ^ every[b]) <= DISTANCE
            near &= (owners[a] != owners[b]) & (plain[a] | plain[b])
            low, high = np.sort([owners[a[near]], owners[b[near]]], axis=0)
            found.append(low * count + high)
        votes = _added(votes, np.concatenate(found))
    return _most_voted(votes, count)


def _added(votes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(2, P) keys of pairs and their votes, with one more for each of `keys`."""
    unique, counts = np.unique(keys, return_counts=True)
    every, where = np.unique(np.r_[votes[0], unique], return_inverse=True)
    total = np.bincount(where, np.r_[votes[1], counts], len(every)).astype(np.int64)
    return np.stack([every, total])


def _most_voted(votes: np.ndarray, count: int) -> list[tuple[int, int]]:
    """The pairs that are among the `MOST_PARTNERS` of one of both."""
    low, high = np.divmod(votes[0], count)
    kept: set[tuple[int, int]] = set()
    ends, partners = np.r_[low, high], np.r_[high, low]
    order = np.lexsort((-np.r_[votes[1], votes[1]], ends))
    ends, partners = ends[order], partners[order]
    starts = np.r_[0, np.flatnonzero(np.diff(ends)) + 1, len(ends)]
    for start, stop in pairwise(starts):
        for i in range(start, min(stop, start + MOST_PARTNERS)):
            kept.add((int(min(ends[i], partners[i])), int(max(ends[i], partners[i]))))
    return sorted(kept)
