"""Ids for rows that have none."""

from __future__ import annotations

import hashlib
import json
from typing import Any


class Ids:
    """Makes them, of one file."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def of(self, row: dict[str, Any], video: str, *, several: bool) -> str:
        """The name of the row's video; for further ones, with a hash of the row added. An exact repeat gets an id
        that is taken, so that it counts as a repeat.

        Args:
            several: a video may have several such rows, as conversations, or one for each subject.
        """
        if not several:
            self._seen.add(video)
            return video
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:8]
        longer = f"{video}#{digest}"
        further = video in self._seen and longer not in self._seen
        self._seen |= {video, longer}
        return longer if further else video
