"""The prepared dataset on disk.

    out/manifest.json                 source, policy, versions, counts
    out/shard-00000.parquet           rows, with pictures that `datasets` and the Hub viewer show
    out/shard-00000.quarantine.jsonl  this shard's quarantined rows, with reasons
    out/quarantine.jsonl              those of all shards, written when the run ends
    out/README.md                     tells `datasets` and the Hub which files are rows

A shard is complete when its Parquet file has its final name, and is then never changed in place.
`out` is a folder or anything else that fsspec reaches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from data.errors import UserError
from data.hub import pinned, reading
from data.sample import AlreadyWritten, Outcome, Rejected, teacher_of
from data.sources.parse import without_surrogates
from data.storage import Folder, open_folder

FORMAT_VERSION = 6
WITHOUT_SHARES = 5
"""Earlier version, read like this one: it has no `SHARES`."""
WITHOUT_WINDOWS = 4
"""Version before that, read likewise: its rows show whole videos, so it has no `WINDOW` columns."""
WINDOW = ("sample_id", "start_s", "end_s")
"""Columns that say which part of a video a row shows; `sample_id` is the same in all windows of a sample."""
SHARES = ("black_share", "still_share")
"""Columns that say how much of it is black, or stands still."""
GROUP_ROWS = 8
"""Rows per row group: so many are held in memory before they are written, and read at a time."""
FEATURES = Features(
    {
        "id": Value("string"),
        "sample_id": Value("string"),
        "source": Value("string"),
        "video_id": Value("string"),
        "frames": List(Image()),
        "times_s": List(Value("float64")),
        "duration_s": Value("float64"),
        "start_s": Value("float64"),
        "end_s": Value("float64"),
        "events": List(
            {"start_s": Value("float64"), "end_s": Value("float64"), "text": Value("string")}
        ),
        "description": Value("string"),
        "prompt": Value("string"),
        "system": Value("string"),
        "context": Value("string"),
        "turns": List({"prompt": Value("string"), "answer": Value("string")}),
        "reasons": List(Value("string")),
        "ranks": List(Value("int32")),
        "decoded_share": Value("float64"),
        "unseen_s": Value("float64"),
        "black_share": Value("float64"),
        "still_share": Value("float64"),
        "credit": Value("string"),
        "metadata": Value("string"),
        "repairs": List({"what": Value("string"), "count": Value("int64")}),
        "policy": Value("string"),
    }
)

STORED = Features({**FEATURES, "frames": List(Image(decode=False))})
"""`FEATURES` with pictures as undecoded bytes."""
OWN = ("prompt", "system", "context")
"""Columns in which a row may have its own text instead of the run's."""
Row = dict[str, Any]


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.parquet"


def quarantine_name(index: int) -> str:
    return f"shard-{index:05d}.quarantine.jsonl"


# --- writing ---------------------------------------------------------------------------------


def write_shard(out: Folder, index: int, outcomes: Iterable[Outcome]) -> None:
    """Write a shard's rows, a group at a time, then its quarantine lines. Last, the Parquet file gets its
    final name, which marks both as complete. A process killed before that leaves only an unfinished file."""
    unfinished = out.unfinished(shard_name(index))
    rejected: list[Rejected] = []
    group: list[Row] = []
    before = groupby(_rows(out, index), key=itemgetter("sample_id"))
    try:
        with pq.ParquetWriter(unfinished, FEATURES.arrow_schema, compression="zstd") as writer:
            for outcome in outcomes:
                if isinstance(outcome, Rejected):
                    rejected.append(outcome)
                    continue
                for row in _rows_to_write(before, outcome):
                    group.append(row)
                    if len(group) == GROUP_ROWS:
                        writer.write_table(
                            pa.Table.from_pylist(group, schema=FEATURES.arrow_schema)
                        )
                        group.clear()
            if group:  # an empty group would break readers; a file without one does not
                writer.write_table(pa.Table.from_pylist(group, schema=FEATURES.arrow_schema))
        # the old version of the shard is removed first: if the process is killed between these lines,
        # the shard is made again. Old rows beside new quarantine lines would lose the rescued rows
        out.remove(shard_name(index))
        out.write(quarantine_name(index), _lines(rejected))
        out.commit(unfinished, shard_name(index))
    except BaseException:
        unfinished.unlink(missing_ok=True)  # free its space: the disk may be full
        raise


def _rows_to_write(
    before: Iterator[tuple[str, Iterator[Row]]], outcome: Row | AlreadyWritten
) -> Iterator[Row]:
    """The row itself, or the rows of the next sample in the shard's old version, which has the same order."""
    if not isinstance(outcome, AlreadyWritten):
        yield outcome
        return
    sample_id, rows = next(before)
    assert sample_id == outcome.id, (sample_id, outcome.id)
    yield from rows


def _rows(out: Folder, index: int) -> Iterator[Row]:
    """Rows of a finished shard, with one group in memory at a time."""
    with out.open(shard_name(index)) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for group in range(parquet.num_row_groups):
            yield from parquet.read_row_group(group, use_threads=False).to_pylist()


def shard_ids(out: Folder, index: int) -> set[str]:
    """Ids of the samples of a finished shard."""
    with out.open(shard_name(index)) as file:
        return set(_column_table(file, ["sample_id"])["sample_id"].to_pylist())


def _column_table(file: BinaryIO, columns: list[str]) -> pa.Table:
    """Some columns of a shard, read without Arrow's threads: threads that read through a Python file may
    outlive the interpreter and abort or hang it at its exit (apache/arrow#34314, #50482)."""
    return pq.read_table(file, columns=columns, use_threads=False, pre_buffer=False)


def _lines(rejected: Iterable[Rejected]) -> str:
    lines = "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejected)
    return without_surrogates(lines)  # names of files need not be UTF-8


def quarantined(out: Folder, index: int) -> Iterator[Rejected]:
    """The quarantined rows of a finished shard."""
    for line in out.text(quarantine_name(index)).split("\n"):
        if line:  # not splitlines: file names may hold any other line separator
            yield Rejected(**json.loads(line))


def summed(out: Folder, num_shards: int) -> dict[str, Any]:
    """Return the counts over all shards and write `quarantine.jsonl`, with one shard in memory at a time."""
    columns = ["source", "video_id", "times_s", *WINDOW, "unseen_s", "repairs", "metadata", *OWN]
    totals: dict[str, Any] = {"rows": 0, "samples": 0, "frames": 0, "video_s": 0.0, "unseen_s": 0.0}
    videos: set[str] = set()
    own = dict.fromkeys(OWN, 0)
    by_source: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    synthetic: Counter[str] = Counter()
    every = out.unfinished("quarantine.jsonl")
    with every.open("w", encoding="utf-8") as lines:
        for index in range(num_shards):
            with out.open(shard_name(index)) as file:
                table = _column_table(file, columns)
            totals["rows"] += table.num_rows
            totals["frames"] += sum(map(len, table["times_s"].to_pylist()))
            totals["samples"] += len(set(table["sample_id"].to_pylist()))
            shown_s = pc.subtract(table["end_s"], table["start_s"])
            totals["video_s"] += sum(shown_s.to_pylist())
            totals["unseen_s"] = max([totals["unseen_s"], *table["unseen_s"].to_pylist()])
            videos.update(table["video_id"].to_pylist())
            for name in OWN:
                own[name] += sum(map(bool, table[name].to_pylist()))
            by_source.update(table["source"].to_pylist())
            synthetic.update(filter(None, map(teacher_of, table["metadata"].to_pylist())))
            for found in table["repairs"].to_pylist():
                repairs.update({r["what"]: r["count"] for r in found})
            lost = list(quarantined(out, index))
            reasons.update(r.reason for r in lost)
            lines.write(_lines(lost))
    out.commit(every, "quarantine.jsonl")
    return {
        **totals,
        "videos": len(videos),
        "own_words": {name: count for name, count in own.items() if count},
        "by_source": dict(sorted(by_source.items())),
        "synthetic": dict(sorted(synthetic.items())),
        "repairs": dict(sorted(repairs.items())),
        "quarantined": dict(sorted(reasons.items())),
    }


# --- reading ---------------------------------------------------------------------------------


def read_columns(
    file: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int] | None = None
) -> pa.Table:
    """Columns of a shard, or of some of its row groups; the `WINDOW` columns of a version without them are those
    of whole videos, and `SHARES` are null."""
    names = file.schema_arrow.names
    old, unknown = "start_s" not in names, [name for name in SHARES if name not in names]
    there = {*columns, "id", "duration_s"} - set(WINDOW) if old else set(columns)
    there -= set(unknown)
    if groups is None:
        table = file.read(columns=list(there), use_threads=False)
    else:
        table = file.read_row_groups(list(groups), columns=list(there), use_threads=False)
    if old:
        table = table.append_column("sample_id", table["id"])
        table = table.append_column("start_s", pa.array([0.0] * len(table)))
        table = table.append_column("end_s", table["duration_s"])
    for name in unknown:
        table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    return table.select(list(columns))


def manifest_text(url: str, *, shown: str) -> str:
    """The text of the manifest at `url`, which error messages call `shown`.

    Raises:
        UserError: there is no prepared dataset.
    """
    try:
        return open_folder(url).text("manifest.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"data.path={shown}: no prepared dataset there (no manifest.json)"
        ) from None


def parse_manifest(text: str, path: str) -> dict[str, Any]:
    """The manifest in `text`, checked.

    Raises:
        UserError: not a manifest of this version, or of a run that has not finished.
    """
    file = f"{path}/manifest.json"
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error}); prepare the dataset again") from None
    known = (FORMAT_VERSION, WITHOUT_SHARES, WITHOUT_WINDOWS)
    if not isinstance(manifest, dict) or manifest.get("format_version") not in known:
        raise UserError(
            f"{file}: written by another version; prepare the dataset again, with overwrite=true"
        )
    if not manifest.get("finished"):
        raise UserError(
            f"data.path={path}: its scripts/prepare.py run has not finished; run it again to continue"
        )
    return manifest


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a finished prepared dataset.

    Raises:
        UserError: there is no prepared dataset, or its run has not finished.
    """
    with reading(str(path)):
        return parse_manifest(manifest_text(pinned(str(path)), shown=str(path)), str(path))


def shard_locations(path: str, manifest: dict[str, Any]) -> list[str]:
    """The shards of a finished prepared dataset, as paths or URLs. `path` must be pinned.

    Raises:
        UserError: one of them is missing.
    """
    out = open_folder(path)
    # on the Hub they lie in data/, where its viewer looks
    folder = out if out.is_local or out.has(shard_name(0)) else open_folder(f"{path}/data")
    names = [shard_name(i) for i in range(manifest["shards"])]
    missing = sorted(set(names) - folder.names())
    if missing:
        raise UserError(f"data.path={path}: {missing[0]} is missing; prepare the dataset again")
    return [folder.location(name) for name in names]
