"""All sources by name, several mixed, every id once."""

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
    """What is known of a source; little, where a dataset was prepared from one that is not here."""
    return SOURCES.get(name, Source())


DERIVED = ("version", "ids_sha256", "texts")
"""What a source's record holds beside its keys."""


def describe_sources(sources: Sequence[SourceKeys]) -> list[dict[str, Any]]:
    """What decides which rows come, for the manifest.

    Raises:
        UserError: a source is not there or not ours to read.
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


def same_rows(told: Any, sources: Sequence[dict[str, Any]]) -> bool:
    """Whether a record of sources (a stranger's, perhaps) names the rows of `sources`, whatever became
    of their texts."""
    records = as_dicts(told)
    return bool(records) and [{**r, "texts": 0} for r in records] == [
        {**r, "texts": 0} for r in sources
    ]


def count(sources: Sequence[SourceKeys]) -> int | None:
    """How many rows `read` will give, where that is known.

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
    """Rows of all sources, each id once. Ids of a mixture carry their source's name in front."""
    rows = (
        _module(sources[0]).read(sources[0])
        if len(sources) == 1
        else mixed([_labelled(keys, i, sources) for i, keys in enumerate(sources)], sources)
    )
    return without_repeats(rows)


def mixed(
    streams: Sequence[Iterator[SourceRow]], sources: Sequence[SourceKeys]
) -> Iterator[SourceRow]:
    """Interleave by weight: at any point each source has given its share of the rows.

    With weights the mixture ends when a source runs out, for its share could no longer be kept;
    without, every source is read to its end. Rows that filters leave out take no place.
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
    """The second row of one id is quarantined."""
    seen: set[str] = set()
    for row in rows:
        if isinstance(row, Sample) and row.id in seen:
            detail = "give each row an id of its own"
            yield Rejected(row.id, row.video.name, "same id twice", detail)
            continue
        if not isinstance(row, FilteredOut):
            seen.add(row.id)
        yield row
