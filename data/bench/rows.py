"""How long does curation take, and how much memory? Datasets of many rows of random pictures."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.bench.offline import run_watched
from data.config import ROOT
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.shards import Row, summed, write_shard
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from data.storage import open_folder

SHARD_ROWS = 1000
TWIN = 0.05
"""Share of the rows that show what the row before shows, at a lower quality."""


def write_rows(work: Path, rows: int, frames: int, px: int) -> Path:
    """A prepared dataset of `rows` rows with `frames` random pictures each: smooth ones, of `px` pixels."""
    path = work / f"rows-{rows}"
    if (path / "manifest.json").exists():
        return path
    first = work / "one"
    source = SourceKeys(name="microworld", path=str(work / "videos"), limit=1)
    prepare(PrepareConfig(source=source, frames=FrameKeys(max=2, px=px), out=str(first)))
    opened = Prepared.open(first)
    row, out = dict(opened.rows()[0]), open_folder(path)
    out.make()
    starts = range(0, rows, SHARD_ROWS)
    for shard, start in enumerate(tqdm(starts, desc="write rows", unit="shard")):
        numbers = range(start, min(rows, start + SHARD_ROWS))
        write_shard(out, shard, _rows(row, numbers, frames, px))
    manifest = {**opened.manifest, "shards": len(starts), **summed(out, len(starts))}
    out.write("manifest.json", json.dumps(manifest))
    out.clear_scratch()
    return path


def _rows(row: Row, numbers: range, frames: int, px: int) -> Iterator[Row]:
    for number in numbers:
        twin = number > 0 and np.random.default_rng(number).random() < TWIN
        jpegs = _jpegs(number - 1 if twin else number, frames, px, 40 if twin else 92)
        times_s = [2.0 * k for k in range(frames)]
        yield {
            **row,
            "id": f"{number:06d}",
            "sample_id": f"{number:06d}",
            "video_id": f"{number:06d}",
            "frames": [{"bytes": jpeg, "path": None} for jpeg in jpegs],
            "times_s": times_s,
            "reasons": ["shot"] * frames,
            "ranks": list(range(frames)),
            "duration_s": 2.0 * frames,
            "end_s": 2.0 * frames,
        }


def _jpegs(seed: int, frames: int, px: int, quality: int) -> Iterator[bytes]:
    rng = np.random.default_rng([seed, 1])
    for _ in range(frames):
        small = Image.fromarray(rng.integers(0, 256, (9, 16, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((px * 16 // 9, px)).save(buffer, "JPEG", quality=quality)
        yield buffer.getvalue()


def measure_rows(work: Path, rows: int, frames: int, px: int) -> dict[str, float]:
    """Seconds and peak memory of curation, of the command and of its largest worker; what it dropped."""
    path = write_rows(work, rows, frames, px)
    out = work / f"curated-{rows}"
    command = [sys.executable, str(ROOT / "scripts/curate.py"), f"data.path={path}", f"out={out}"]
    seconds, memory = run_watched([*command, "overwrite=true", "subset=200"])
    dropped = json.loads((out / "manifest.json").read_text())["curated"]["dropped"]
    return {
        f"rows/{rows}/seconds": seconds,
        f"rows/{rows}/mib": memory["run"],
        f"rows/{rows}/worker_mib": memory["worker"],
        f"rows/{rows}/copies": dropped.get("copy", 0),
    }
