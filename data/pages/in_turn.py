"""Which of many things a page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turn(items: Sequence[T], kind_of: Callable[[T], str], most: int) -> list[T]:
    """At most so many, of each kind in turn."""
    by_kind: dict[str, list[T]] = {}
    for item in items:
        by_kind.setdefault(kind_of(item), []).append(item)
    turns = [(n, k, item) for k, own in enumerate(by_kind.values()) for n, item in enumerate(own)]
    return [item for _, _, item in sorted(turns, key=lambda turn: turn[:2])][:most]
