"""Which ids were there already."""

from __future__ import annotations

import hashlib

import numpy as np


class SeenIds:
    """Which texts were added, at eight bytes each: a million take 8 MB."""

    RECENT = 1 << 14

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()

    def add(self, name: str) -> bool:
        """True where the id is new."""
        digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()
        key = int.from_bytes(digest, "big")
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        known = place < len(self._sorted) and int(self._sorted[place]) == key
        if known or key in self._recent:
            return False
        self._recent.add(key)
        if len(self._recent) >= self.RECENT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.union1d(self._sorted, recent)
            self._recent.clear()
        return True
