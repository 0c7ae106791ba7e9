"""Read one source or a mixture of several; no id is used twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from data.errors import UserError
from data.sample import FilteredOut, Rejected, Sample
from data.sources.config import SourceKeys
from data.sources.known_sources import SOURCES, Source
from data.sources.parse import as_dicts, wanted_ids
from data.storage import listing_hash

SourceRow = Sample | Rejected | FilteredOut


def _module(keys: SourceKeys) -> Any:
    return import_module(f"data.sources.{keys.name}")


def about(name: str) -> Source:
    """Facts about a source; defaults if this version does not have it, as an older dataset may name it."""
    return SOURCES.get(name, Source())


DERIVED = ("version", "ids_sha256", "texts")
"""The fields of a source's record that are not keys."""


def describe_sources(sources: Sequence[SourceKeys]) -> list[dict[str, Any]]:
    """One record per source, for the manifest: all that decides which rows are read.

    Raises:
        UserError: a source does not exist, or we may not read it.
    """
    records = []
    for keys in sources:
        record = {**keys.record(), "version": _module(keys).version(keys)}
        if (texts := about(str(keys.name)).texts) > 1:
            record["texts"] = texts
        if keys.ids is not None:  # they may come from a file, which may change
            record["ids_sha256"] = listing_hash(list(wanted_ids(keys.ids) or ()))
        records.append(json.loads(json.dumps(record)))
    return records


def same_rows(stored: Any, sources: Sequence[dict[str, Any]]) -> bool:
    """Whether stored records of sources select the same rows as `sources`, even if `texts` differs. They
    may come from a stranger's file: any value is accepted."""
    records = as_dicts(stored)
    return bool(records) and [{**r, "texts": 0} for r in records] == [
        {**r, "texts": 0} for r in sources
    ]


def count(sources: Sequence[SourceKeys]) -> int | None:
    """Number of rows that `read` will yield, or None if it is not known.

    Raises:
        UserError: a source is empty.
    """
    counts = [_module(keys).count(keys) for keys in sources]
    for keys, found in zip(sources, counts, strict=True):
        if found == 0:
            raise UserError(f"source.path={keys.path}: no rows")
    if len(counts) == 1:
        return counts[0]
    if any(keys.weight is not None for keys in sources) or None in counts:
        return None  # a mixture ends with the source that runs out first
    return sum(counts)


def read(sources: Sequence[SourceKeys]) -> Iterator[SourceRow]:
    """Rows of all sources, each id once. In a mixture, ids begin with the name of their source."""
    rows = (
        _module(sources[0]).read(sources[0])
        if len(sources) == 1
        else mixed([_labelled(keys, i, sources) for i, keys in enumerate(sources)], sources)
    )
    return without_repeats(rows)


def mixed(
    streams: Sequence[Iterator[SourceRow]], sources: Sequence[SourceKeys]
) -> Iterator[SourceRow]:
    """Rows of several sources, interleaved by weight: at any point each source has given its share.

    With weights, the mixture ends when a source runs out, because its share could no longer be kept.
    Without weights, every source is read to its end. Rows that filters leave out are not counted.
    """
    weighted = any(keys.weight is not None for keys in sources)
    weights = [keys.weight or 1.0 for keys in sources]
    given = [0.0] * len(streams)
    open_ones = set(range(len(streams)))
    while open_ones:
        turn = min(open_ones, key=lambda i: ((given[i] + 1) / weights[i], i))
        row = next(streams[turn], None)
        if row is None:
            if weighted:
                return
            open_ones.discard(turn)
            continue
        yield row
        given[turn] += not isinstance(row, FilteredOut)


def _labelled(keys: SourceKeys, index: int, sources: Sequence[SourceKeys]) -> Iterator[SourceRow]:
    alike = sum(other.name == keys.name for other in sources) > 1
    label = f"{keys.name}-{index}" if alike else keys.name
    for row in _module(keys).read(keys):
        yield row if isinstance(row, FilteredOut) else replace(row, id=f"{label}/{row.id}")


def without_repeats(rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    """The rows; a row whose id was used before is quarantined."""
    seen: set[str] = set()
    for row in rows:
        if isinstance(row, Sample) and row.id in seen:
            detail = "give each row an id of its own"
            yield Rejected(row.id, row.video.name, "same id twice", detail)
            continue
        if not isinstance(row, FilteredOut):
            seen.add(row.id)
        yield row
