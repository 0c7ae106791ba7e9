"""Which videos of one or two datasets are copies of each other, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tqdm import tqdm

from data.curation.looks import hashes_of, mirrored
from data.curation.near import candidates
from data.curation.strips import SeenVideo, jpeg_of
from data.curation.twins import aligned, is_copy


def groups_of_copies(videos: Sequence[SeenVideo]) -> list[list[int]]:
    """Numbers of the videos of each group of two or more, increasing. A copy of a copy is in the same group."""
    looks = [video.strip.looks for video in videos]
    pairs = candidates(
        [hashes_of(one) for one in looks], [hashes_of(mirrored(one)) for one in looks]
    )
    group = list(range(len(videos)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    for a, b in tqdm(pairs, desc="compare", unit="pair"):
        if root(a) != root(b) and are_copies(videos[a], videos[b]):
            group[max(root(a), root(b))] = min(root(a), root(b))
    members: dict[int, list[int]] = {}
    for i in range(len(videos)):
        members.setdefault(root(i), []).append(i)
    return [one for one in members.values() if len(one) > 1]


def are_copies(a: SeenVideo, b: SeenVideo) -> bool:
    """Whether two videos show the same, by the times of their frames and by the frames themselves."""
    found = aligned(a.strip, b.strip)
    return found is not None and is_copy(found, partial(jpeg_of, a), partial(jpeg_of, b))


def best_of(videos: Sequence[SeenVideo]) -> int:
    """Number of the video to keep: the longest, within 2 %; of these the one of most words; then the sharpest."""
    longest = max(video.strip.length_s for video in videos)

    def order(i: int) -> tuple[bool, int, float, int]:
        rows = videos[i].rows
        words, sharp = sum(row.words for row in rows), max(row.jpeg_bytes for row in rows)
        return videos[i].strip.length_s < 0.98 * longest, -words, -sharp, i

    return min(range(len(videos)), key=order)
