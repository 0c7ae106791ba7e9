"""Prepared dataset → a curated one: without copies, without dull videos, as varied as is wanted (scripts/curate.py)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pyarrow.parquet as pq

from data.config import resolved
from data.curation.config import CurateConfig
from data.curation.decide import Decision, decide
from data.curation.page import write_page_of
from data.curation.strips import seen_videos
from data.errors import UserError, differing, made_otherwise
from data.hub import opened
from data.prepared.card import CARD, dataset_card
from data.prepared.dataset import Prepared
from data.prepared.marks import read_marks
from data.prepared.shards import (
    FEATURES,
    FORMAT_VERSION,
    Row,
    quarantine_name,
    quarantined,
    read_columns,
    summed,
    write_shard,
)
from data.sample import Rejected
from data.selection.config import SELECTOR_PATHS
from data.storage import Folder, open_folder

MANIFEST, DROPPED, PAGE = "manifest.json", "dropped.jsonl", "dropped.html"
DECIDES = ("copies", "black", "still", "slides", "subset")
"""Keys that decide what is kept."""


def curate(config: CurateConfig) -> dict[str, Any]:
    """Write the curated dataset; returns its manifest. Done again, it ends at once; after a kill, with the same bytes.

    Raises:
        UserError: a dataset cannot be read, nothing would be left, or `out` holds something else.
    """
    dataset = Prepared.open(config.data.path)
    other = _opened(config.against) if config.against is not None else None
    marks = read_marks(config.marks, "marks")
    out = open_folder(config.out)
    keys = resolved(config)
    record: dict[str, Any] = {
        "from": dataset.path,
        "sha256": dataset.sha256,
        **{name: keys[name] for name in DECIDES},
        "against": other and {"path": other.path, "sha256": other.sha256},
        "marks_sha256": marks.sha256,
        "made_by": f"scenescribe {version('scenescribe')}",
    }
    done = _claimed(out, record, config.overwrite)
    if done is not None:
        return done
    out.make()
    with out.locked():
        videos = seen_videos(dataset, config.workers)
        elsewhere = seen_videos(other, config.workers) if other is not None else []
        found = decide(config, videos, elsewhere, marks.dropped)
        # first, so that a run killed below neither looks whole nor like somebody else's
        manifest = {
            **dataset.manifest,
            "format_version": FORMAT_VERSION,
            "curated": dict(record),
            "finished": False,
        }
        out.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")
        for name in out.names():
            if name.startswith("shard-") or name in (CARD, DROPPED, PAGE, "quarantine.jsonl"):
                out.remove(name)
        record["rows_before"] = dataset.manifest["rows"]
        record["dropped"] = dict(sorted(Counter(one.reason for one in found.dropped).items()))
        record["in_groups"] = len(found.groups)
        _write_rows(out, dataset, found)
        manifest |= summed(out, len(dataset.shards))
        _write_dropped(out, found)
        unfinished = out.unfinished(PAGE)
        write_page_of(unfinished, found.dropped, record, config.shown)
        out.commit(unfinished, PAGE)
        manifest |= {"curated": record, "finished": True}
        out.write(CARD, dataset_card(manifest))
        out.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")
        out.clear_scratch()
    return manifest


def _opened(path: str) -> Prepared:
    """The dataset of `against`."""
    try:
        return Prepared.open(path)
    except UserError as error:
        raise UserError(str(error).replace("data.path=", "against=", 1)) from None


def _claimed(out: Folder, record: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The manifest in `out` if it is this dataset's, finished.

    Raises:
        UserError: `out` holds something else.
    """
    if all(name.startswith(".") or name.endswith(".tmp") for name in out.names()):
        return None
    try:
        manifest = dict(json.loads(out.text(MANIFEST)))
    except (OSError, ValueError):
        raise UserError(
            f"out={out.url}: is not empty and holds no dataset; choose another folder"
        ) from None
    if overwrite:
        return None
    if names := differing(manifest.get("curated") or {}, record):
        raise made_otherwise(f"out={out.url}", "a dataset", names)
    return manifest if manifest.get("finished") else None


def _write_rows(out: Folder, dataset: Prepared, found: Decision) -> None:
    gone = {one.row.place for one in found.dropped}
    source = open_folder(dataset.url)
    for name in SELECTOR_PATHS:
        if source.has(name):
            with source.open(name) as file:
                out.write_bytes(name, file.read())
    for shard, url in enumerate(dataset.shards):
        lost: list[Rejected] = []
        if source.has(quarantine_name(shard)):  # a published dataset has none
            lost = list(quarantined(source, shard))
        write_shard(out, shard, _kept(url, shard, gone, found.groups, lost))


def _kept(
    url: str, shard: int, gone: set[tuple[int, int, int]], groups: Any, lost: list[Rejected]
) -> Iterator[Row | Rejected]:
    with opened(url) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for group in range(parquet.num_row_groups):
            for i, row in enumerate(read_columns(parquet, list(FEATURES), [group]).to_pylist()):
                if (shard, group, i) not in gone:
                    yield {**row, "video_id": groups.get(row["video_id"], row["video_id"])}
    yield from lost


def _write_dropped(out: Folder, found: Decision) -> None:
    lines = [
        {
            "id": one.row.id,
            "reason": one.reason,
            "detail": one.detail,
            "twin": one.twin and one.twin.id,
        }
        for one in found.dropped
    ]
    out.write(DROPPED, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def report(manifest: dict[str, Any]) -> str:
    """What was dropped, for people."""
    record = manifest["curated"]
    lines = [f"{record['rows_before']:,} rows, {manifest['rows']:,} kept"]
    lines += [f"  {count:>6}  {reason}" for reason, count in record["dropped"].items()]
    if record["in_groups"]:
        lines.append(
            f"{record['in_groups']} videos are in the group of a copy: one side of every split"
        )
    return "\n".join(lines)
