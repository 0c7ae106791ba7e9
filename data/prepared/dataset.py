"""A prepared dataset as one run sees it: opened once, and the same to the run's end.

What is behind a path may change while a run goes on: a branch on the Hub moves, a folder is prepared
anew. So the address is pinned, the manifest read and everything hashed before anything is loaded.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from data.errors import UserError
from data.hub import opened, pinned, reading
from data.prepared.shards import STORED, manifest_text, parse_manifest, shard_locations

AT_ONCE = 16
"""Shards whose footers are read at a time."""
FOOTER_END = 8
"""A Parquet file ends in its footer, the footer's length (4 bytes) and a mark (4 bytes)."""


@dataclass(frozen=True)
class Prepared:
    """Where a prepared dataset is and which one it is."""

    path: str
    """As the user wrote it."""
    url: str
    """On the Hub with the commit it stood for when it was opened."""
    manifest: dict[str, Any] = field(repr=False)
    manifest_sha256: str
    sha256: str
    """Of the manifest and every shard's footer, which holds sizes and bounds of all that is in it."""
    shards: tuple[str, ...] = field(repr=False)
    """Paths or URLs."""


def open_prepared(path: str | Path) -> Prepared:
    """
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
        with ThreadPoolExecutor(AT_ONCE) as pool:  # behind an address each is a round trip
            for footer in pool.map(_footer, shards):
                digest.update(footer)
    return Prepared(
        path=str(path),
        url=url,
        manifest=manifest,
        manifest_sha256=hashlib.sha256(text.encode()).hexdigest(),
        sha256=digest.hexdigest(),
        shards=tuple(shards),
    )


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


def read_rows(prepared: Prepared) -> Dataset:
    """All rows, memory-mapped; frames as undecoded bytes."""
    with reading(prepared.path):
        return load_dataset(
            "parquet",
            # part of the cache's address: the library itself tells files by path and time only
            name=f"prepared-{prepared.sha256[:16]}",
            data_files={"train": list(prepared.shards)},
            split="train",
            features=STORED,
        )


def read_dataset(path: str | Path) -> Dataset:
    """All rows of what is at a path now.

    Raises:
        UserError: as `open_prepared`.
    """
    return read_rows(open_prepared(path))
