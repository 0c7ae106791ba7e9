"""Bad labels for videos of the micro-world: swapped between two, or shifted in time; and frames that show nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from data.prepared.dataset import Prepared
from data.prepared.shards import FEATURES, Row, read_columns, summed, write_shard
from data.storage import Folder, open_folder
from train.batches.swapped import GREY

SHIFT_S = (3.0, 6.0)
LEAST_S = 0.5


def bad_path(work: Path, share: float) -> Path:
    """Where the dataset with a share of bad labels is."""
    return work / f"bad-{share:g}"


def plant(work: Path, share: float) -> None:
    """Write the clean dataset with the labels of a share of its rows changed: half of these have the events of another
    row, the others' events are moved by three to six seconds. `bad.json` in the folder lists them."""
    out = open_folder(str(bad_path(work, share)))
    if out.has("bad.json"):
        return
    out.make()
    clean = Prepared.open(work / "clean")
    rows = clean.rows().select_columns(["id", "events", "end_s"])
    events, lengths_s = rows["events"], rows["end_s"]
    rng = np.random.default_rng(round(1000 * share))
    chosen = rng.permutation(len(rows))[: round(share * len(rows))].tolist()
    half = len(chosen) // 2
    changed = {
        i: clipped(events[other], lengths_s[i])
        for i, other in zip(chosen[:half], [*chosen[1:half], chosen[0]], strict=True)
    }
    for i in chosen[half:]:
        step_s = float(rng.choice([-1, 1]) * rng.uniform(*SHIFT_S))
        times = [
            {**e, "start_s": e["start_s"] + step_s, "end_s": e["end_s"] + step_s} for e in events[i]
        ]
        changed[i] = clipped(times, lengths_s[i])
    names = rows["id"]
    of = {names[i]: events for i, events in changed.items()}
    rewrite(clean, out, lambda row: {**row, "events": of.get(row["id"], row["events"])})
    out.write("bad.json", json.dumps(sorted(of)))


def write_grey(work: Path) -> None:
    """Write the clean dataset with grey frames."""
    out = open_folder(str(work / "grey"))
    if out.has("manifest.json"):
        return
    out.make()
    buffer = io.BytesIO()
    Image.new("RGB", (96, 96), (GREY, GREY, GREY)).save(buffer, "JPEG")
    grey = {"bytes": buffer.getvalue(), "path": None}
    clean = Prepared.open(work / "clean")
    rewrite(clean, out, lambda row: {**row, "frames": [grey] * len(row["frames"])})


def rewrite(dataset: Prepared, out: Folder, change: Callable[[Row], Row]) -> None:
    """Write the dataset with each row changed."""
    for shard, url in enumerate(dataset.shards):
        with Path(url).open("rb") as file:
            table = read_columns(pq.ParquetFile(file), list(FEATURES))
        write_shard(out, shard, map(change, table.to_pylist()))
    manifest = {**dataset.manifest, **summed(out, len(dataset.shards))}
    out.write("manifest.json", json.dumps(manifest))
    out.clear_scratch()


def clipped(events: list[dict[str, Any]], length_s: float) -> list[dict[str, Any]]:
    """The events within a video of this length; of one that would be outside, a moment stays."""
    found = []
    for event in events:
        start_s = min(max(event["start_s"], 0.0), length_s - LEAST_S)
        end_s = min(max(event["end_s"], start_s + LEAST_S), length_s)
        found.append({**event, "start_s": start_s, "end_s": end_s})
    return found
