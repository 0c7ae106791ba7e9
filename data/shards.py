"""The prepared dataset on disk.

    out/manifest.json                 source, policy, versions, counts
    out/shard-00000.parquet           rows, with pictures that `datasets` and the Hub viewer show
    out/shard-00000.quarantine.jsonl  what this shard's rows lost, and why
    out/quarantine.jsonl              all of it, written when the run ends

A shard is complete when its Parquet file has its final name, and is then never written again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, List, Value, load_dataset

from data.config import UserError
from data.sample import Rejected

FORMAT_VERSION = 2
GROUP_ROWS = 32
"""Rows held in memory before they are written; also what a reader of the shard fetches at a time."""
FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "frames": List(Image()),
        "times_s": List(Value("float64")),
        "duration_s": Value("float64"),
        "events": List(
            {"start_s": Value("float64"), "end_s": Value("float64"), "text": Value("string")}
        ),
        "events_dropped": Value("int32"),
        "description": Value("string"),
        "prompt": Value("string"),
        "system": Value("string"),
        "turns": List({"prompt": Value("string"), "answer": Value("string")}),
        "reasons": List(Value("string")),
        "ranks": List(Value("int32")),
        "decoded_share": Value("float64"),
        "unseen_s": Value("float64"),
        "credit": Value("string"),
        "policy": Value("string"),
    }
)
Row = dict[str, Any]


def shard_path(out: Path, index: int) -> Path:
    return out / f"shard-{index:05d}.parquet"


def write_shard(out: Path, index: int, outcomes: Iterable[Row | Rejected]) -> None:
    """Rows as they come, a group at a time; the quarantine lines, then the final name of the rows,
    which says that both are there."""
    path = shard_path(out, index)
    unfinished = path.with_suffix(".tmp")
    rejected: list[Rejected] = []
    group: list[Row] = []
    with pq.ParquetWriter(unfinished, FEATURES.arrow_schema, compression="zstd") as writer:
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
                continue
            group.append(outcome)
            if len(group) == GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(group, schema=FEATURES.arrow_schema))
                group.clear()
        if group:  # an empty group would break readers; a file without one does not
            writer.write_table(pa.Table.from_pylist(group, schema=FEATURES.arrow_schema))
    write_atomically(path.with_suffix(".quarantine.jsonl"), _lines(rejected))
    _commit(unfinished, path)


def _lines(rejected: Iterable[Rejected]) -> str:
    return "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejected)


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never half of either."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    _commit(unfinished, path)


def _commit(unfinished: Path, path: Path) -> None:
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_quarantine(out: Path, index: int) -> Iterator[Rejected]:
    text = shard_path(out, index).with_suffix(".quarantine.jsonl").read_text(encoding="utf-8")
    for line in text.split("\n"):  # not splitlines: file names may hold any other line separator
        if line:
            yield Rejected(**json.loads(line))


def shard_counts(out: Path, index: int) -> dict[str, float]:
    """What the summary adds up (of `unseen_s` it takes the largest); no picture is read."""
    columns = ["times_s", "duration_s", "events_dropped", "unseen_s"]
    table = pq.read_table(shard_path(out, index), columns=columns)
    return {
        "rows": table.num_rows,
        "frames": sum(map(len, table["times_s"].to_pylist())),
        "video_s": sum(table["duration_s"].to_pylist()),
        "events_dropped": sum(table["events_dropped"].to_pylist()),
        "unseen_s": max(table["unseen_s"].to_pylist(), default=0.0),
    }


def write_quarantine(out: Path, rejected: Iterable[Rejected]) -> None:
    write_atomically(out / "quarantine.jsonl", _lines(rejected))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a finished prepared dataset.

    Raises:
        UserError: there is no prepared dataset, or its run has not finished.
    """
    folder = Path(path)
    file = folder / "manifest.json"
    if not file.is_file():
        raise UserError(f"data.path={path}: no prepared dataset there (no manifest.json)")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error}); prepare the dataset again") from None
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{file}: written by another version; prepare the dataset again")
    if not manifest.get("finished"):
        raise UserError(
            f"data.path={path}: its scripts/prepare.py run has not finished; run it again to continue"
        )
    return manifest


def manifest_hash(path: str | Path) -> str:
    """Names the exact prepared dataset a run learned from."""
    return hashlib.sha256((Path(path) / "manifest.json").read_bytes()).hexdigest()


def read_dataset(path: str | Path) -> Dataset:
    """All rows of a finished prepared dataset, memory-mapped; frames as undecoded bytes."""
    manifest = read_manifest(path)
    files = [str(shard_path(Path(path), i)) for i in range(manifest["shards"])]
    missing = [f for f in files if not Path(f).is_file()]
    if missing:
        raise UserError(f"data.path={path}: {missing[0]} is missing; prepare the dataset again")
    stored = Features({**FEATURES, "frames": List(Image(decode=False))})
    return load_dataset("parquet", data_files={"train": files}, split="train", features=stored)
