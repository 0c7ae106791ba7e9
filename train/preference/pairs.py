"""Pairs of answers to the same video, the first better than the second, and the folder that holds them.

PATH-pairs/pairs.parquet   one row a pair
PATH-pairs/pairs.json      what they were made of, and what was left out; written last
PATH-pairs/pairs.html      some of them, with frames
PATH-pairs/answers.jsonl   every sampled answer: a run that was killed goes on from there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import UserError
from data.storage import atomic, write_atomically
from train.run.files import json_text, read_json

PAIRS, RECORD, PAGE, ANSWERS = "pairs.parquet", "pairs.json", "pairs.html", "answers.jsonl"
VERSION = 1
TEXTS = ("id", "maker", "chosen", "rejected")


@dataclass(frozen=True)
class Pair:
    """Two answers to one row of a prepared dataset."""

    id: str
    """Of the row."""
    maker: str
    """Where the worse one comes from."""
    chosen: str
    rejected: str
    chosen_reward: float
    rejected_reward: float
    chosen_parts: Mapping[str, float]
    rejected_parts: Mapping[str, float]

    @property
    def margin(self) -> float:
        return self.chosen_reward - self.rejected_reward


@dataclass(frozen=True)
class Pairs:
    """A folder of pairs as it is read."""

    folder: Path
    record: Mapping[str, Any]
    pairs: tuple[Pair, ...]


_PARTS = pa.map_(pa.string(), pa.float64())
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [("chosen_reward", pa.float64()), ("rejected_reward", pa.float64())]
    + [("chosen_parts", _PARTS), ("rejected_parts", _PARTS)]
)


def write_pairs(folder: Path, pairs: Sequence[Pair], record: Mapping[str, Any]) -> None:
    """Write the pairs, then their record: a folder without a record is not finished."""
    rows = [{**asdict(pair), "chosen_parts": [*pair.chosen_parts.items()],
             "rejected_parts": [*pair.rejected_parts.items()]} for pair in pairs]  # fmt: skip
    with atomic(folder / PAIRS) as unfinished:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), unfinished)
    write_atomically(folder / RECORD, json_text({"version": VERSION, **record}))


def read_record(path: str, key: str = "pairs") -> dict[str, Any]:
    """What the pairs in a folder were made of. `key`: the setting that names it.

    Raises:
        UserError: there are none, they are not finished, or were made by another version.
    """
    folder = Path(path)
    if not (folder / RECORD).is_file():
        what = (
            "not finished; the same command continues"
            if (folder / ANSWERS).is_file()
            else "no pairs there"
        )
        raise UserError(f"{key}={path}: {what}; scripts/sample.py makes them")  # fmt: skip
    record = read_json(folder / RECORD)
    if record.get("version") != VERSION:
        raise UserError(
            f"{key}={path}: made by another version ({record.get('version')}, here {VERSION}); sample again"
        )
    return record


def read_pairs(path: str, key: str = "pairs") -> Pairs:
    """The pairs in a folder. `key`: the setting that names it.

    Raises:
        UserError: as `read_record`, or they are damaged.
    """
    folder, record = Path(path), read_record(path, key)
    try:
        rows = pq.read_table(folder / PAIRS, schema=_SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{key}={path}: {PAIRS} cannot be read ({error}); sample again") from None
    pairs = tuple(
        Pair(**{**row, **{k: dict(row[k]) for k in ("chosen_parts", "rejected_parts")}})
        for row in rows
    )
    return Pairs(folder, record, pairs)
