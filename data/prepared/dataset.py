"""A prepared dataset as one run sees it: opened once, and the same until the run ends.

The data at a path may change during a run: a branch on the Hub moves, a folder is prepared again. So the
URL is pinned to a commit, and the manifest and the shards' footers are hashed, before any row is loaded.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, load_dataset

from data.errors import UserError
from data.hub import opened, pinned, reading
from data.prepared.shards import (
    SHARES,
    STORED,
    WINDOW,
    WITHOUT_SHARES,
    WITHOUT_WINDOWS,
    manifest_text,
    parse_manifest,
    shard_locations,
)

AT_ONCE = 16
"""Number of shards whose footers are read at the same time."""
FOOTER_END = 8
"""Bytes after the footer of a Parquet file: the footer's length (4 bytes) and a magic number (4 bytes)."""


@dataclass(frozen=True)
class Prepared:
    """Location and identity of a prepared dataset."""

    path: str
    """As the user wrote it."""
    url: str
    """`path`; on the Hub, with the commit it pointed to when it was opened."""
    manifest: dict[str, Any] = field(repr=False)
    manifest_sha256: str
    sha256: str
    """Hash of the manifest and of every shard's footer, which holds the sizes and bounds of its data."""
    shards: tuple[str, ...] = field(repr=False)
    """Paths or URLs."""

    @classmethod
    def open(cls, path: str | Path) -> Prepared:
        """Open the prepared dataset at a path or URL, and check that it is complete.

        Raises:
            UserError: there is no prepared dataset, its run has not finished, a shard is missing, or the
                Hub refuses it.
        """
        with reading(str(path)):
            url = pinned(str(path))
            text = manifest_text(url, shown=str(path))
            manifest = parse_manifest(text, str(path))
            shards = shard_locations(url, manifest)
            digest = hashlib.sha256(text.encode())
            with ThreadPoolExecutor(AT_ONCE) as pool:  # for a URL, each footer is a round trip
                for footer in pool.map(_footer, shards):
                    digest.update(footer)
        return cls(
            path=str(path),
            url=url,
            manifest=manifest,
            manifest_sha256=hashlib.sha256(text.encode()).hexdigest(),
            sha256=digest.hexdigest(),
            shards=tuple(shards),
        )

    def rows(self) -> Dataset:
        """All rows, memory-mapped; frames as undecoded bytes."""
        with reading(self.path):
            version = self.manifest["format_version"]
            old = version == WITHOUT_WINDOWS
            later = {WITHOUT_WINDOWS: (*WINDOW, *SHARES), WITHOUT_SHARES: SHARES}.get(version, ())
            stored = Features({k: v for k, v in STORED.items() if k not in later})
            rows = load_dataset(
                "parquet",
                # makes the cache depend on the content: by itself the library compares only path and time
                name=f"prepared-{self.sha256[:16]}",
                data_files={"train": list(self.shards)},
                split="train",
                features=stored,
            )
        if not old:
            return rows
        whole = {"sample_id": rows["id"], "start_s": [0.0] * len(rows), "end_s": rows["duration_s"]}
        for name in WINDOW:
            rows = rows.add_column(name, list(whole[name]))
        return rows


def _footer(shard: str) -> bytes:
    with opened(shard) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - FOOTER_END))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if len(tail) < FOOTER_END or tail[4:] != b"PAR1" or length > size - FOOTER_END:
            raise UserError(f"{shard}: not a whole Parquet file; prepare the dataset again")
        file.seek(size - FOOTER_END - length)
        footer: bytes = file.read(length)
    return footer
