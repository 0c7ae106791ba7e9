"""Source × policy → prepared dataset: one pass over the rows, many workers, nothing lost.

A run that is stopped continues where it stopped; the same input gives the same bytes. A video that
cannot be used becomes a quarantine row with a reason, never a crash.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from data.choose import Numbered, policy_record, prepare_row
from data.config import UserError, resolved
from data.isolate import Done, Failure, run_each
from data.keys import PrepareConfig, SourceKeys
from data.sample import Rejected, Sample
from data.selection.looks import check
from data.sources import jsonl, microworld

SOURCES = {"jsonl": jsonl, "microworld": microworld}
"""Each module has `read(keys)` → samples, and `count(keys)` → how many, or None."""


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Run to the end and return the summary, which is also in `manifest.json`.

    Raises:
        UserError: the source cannot be read, or `out` holds something else.
    """
    from data import shards  # `datasets` takes a second to import: not in the workers

    check(config.frames)
    started = time.monotonic()
    source = SOURCES[config.source.name]
    expected = source.count(config.source)  # refuses a source that is not there, before out is ours
    if expected == 0:
        raise UserError(f"source.path={config.source.path}: no rows")
    out = Path(config.out)
    identity = _identity(config)
    _claim(out, identity, config.overwrite)
    items = _without_repeats(source.read(config.source))
    work = partial(
        prepare_row,
        keys=config.frames,
        min_decoded=config.min_decoded,
        threads=config.threads,
    )
    total, done_before = 0, 0

    def todo() -> Iterator[Numbered]:
        nonlocal total, done_before
        for item in items:
            shard = total // config.shard_rows
            total += 1
            if shards.shard_path(out, shard).exists():
                done_before += 1
                bar.update()
            else:
                yield Numbered(shard, item)

    with tqdm(desc="prepare", unit="video", total=expected) as bar:
        outcomes = run_each(
            work,
            todo(),
            workers=config.workers,
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
        )
        for shard, finished in groupby(outcomes, key=lambda done: done.item.shard):
            shards.write_shard(out, shard, (_outcome(done, bar) for done in finished))
    index = math.ceil(total / config.shard_rows)
    every_rejected = [r for i in range(index) for r in shards.read_quarantine(out, i)]
    reasons = Counter(r.reason for r in every_rejected)
    counts: dict[str, float] = {"rows": 0, "frames": 0, "video_s": 0.0, "events_dropped": 0}
    unseen_s = 0.0
    for i in range(index):
        found = shards.shard_counts(out, i)
        unseen_s = max(unseen_s, found.pop("unseen_s"))
        for name, value in found.items():
            counts[name] += value
    shards.write_quarantine(out, every_rejected)
    manifest = {
        "finished": True,
        "format_version": shards.FORMAT_VERSION,
        **identity,
        "shards": index,
        **counts,
        "unseen_s": unseen_s,
        "quarantined": dict(sorted(reasons.items())),
        "versions": {
            name: version(name) for name in ("av", "decord2", "scenedetect-headless", "pillow")
        },
    }
    shards.write_atomically(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return {
        **manifest,
        "seconds": round(time.monotonic() - started, 2),
        "rows_from_before": done_before,
    }


def _outcome(
    done: Done[Numbered, dict[str, Any] | Rejected], bar: tqdm[NoReturn]
) -> dict[str, Any] | Rejected:
    bar.update()
    if isinstance(done.outcome, Failure):
        item = done.item.item
        video = item.video.path if isinstance(item, Sample) else item.video
        return Rejected(item.id, video, done.outcome.reason, done.outcome.detail)
    return done.outcome


def _without_repeats(items: Iterator[Sample | Rejected]) -> Iterator[Sample | Rejected]:
    """The second row of one id is set aside; ids are kept as 8-byte hashes."""
    seen: set[bytes] = set()
    for item in items:
        key = hashlib.blake2b(item.id.encode("utf-8", "replace"), digest_size=8).digest()
        if isinstance(item, Sample) and key in seen:
            yield Rejected(
                item.id, item.video.path, "same id twice", "give each row an id of its own"
            )
            continue
        seen.add(key)
        yield item


def _identity(config: PrepareConfig) -> dict[str, Any]:
    """What decides the content of the shards: two runs with one identity write the same bytes."""
    return {
        "source": resolved(config.source),
        "source_sha256": _source_hash(config.source),
        "policy": policy_record(config.frames),
        "min_decoded": config.min_decoded,
        "shard_rows": config.shard_rows,
    }


def _source_hash(keys: SourceKeys) -> str | None:
    if keys.name == "microworld" or keys.path is None or not Path(keys.path).is_file():
        return None
    with Path(keys.path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(out: Path, identity: dict[str, Any], overwrite: bool) -> None:
    """Make `out` ours: empty, a run of the same identity to continue, or replaced on request."""
    from data import shards

    manifest = out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out}: is a file; give a folder")
    if out.is_dir() and any(p.suffix != ".tmp" for p in out.iterdir()):
        try:
            there = dict(json.loads(manifest.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise UserError(
                f"out={out}: is not empty and no prepared dataset; choose another folder"
            ) from None
        changed = [key for key in identity if there.get(key) != identity[key]]
        if not changed and not overwrite:
            return
        if not overwrite and any(out.glob("shard-*.parquet")):
            raise UserError(
                f"out={out}: holds a dataset prepared otherwise ({', '.join(changed)} differs); "
                "choose another out, or add overwrite=true"
            )
        for path in [*out.glob("shard-*"), out / "quarantine.jsonl", manifest]:
            path.unlink(missing_ok=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={out}: cannot be made ({error.strerror})") from None
    begun = {"finished": False, "format_version": shards.FORMAT_VERSION, **identity}
    shards.write_atomically(manifest, json.dumps(begun, indent=1) + "\n")


def report(summary: dict[str, Any]) -> str:
    """The summary for people."""
    rows, lost = summary["rows"], sum(summary["quarantined"].values())
    lines = [f"{rows} videos prepared, {lost} quarantined"]
    lines += [f"  {count:>6}  {reason}" for reason, count in summary["quarantined"].items()]
    if rows:
        lines.append(
            f"{summary['frames']} frames, {summary['frames'] / rows:.1f} a video; "
            f"{summary['video_s']:.0f} s of video in {summary['seconds']:.1f} s "
            f"({summary['video_s'] / max(summary['seconds'], 1e-3):.1f} × real time)"
        )
    if rows and summary["policy"]["speed"] != "exact":
        lines.append(
            f"speed={summary['policy']['speed']}: frames are shown at their true times; what happens "
            f"between two that were decoded is not seen, at most {summary['unseen_s']:.2f} s at a time"
        )
    if summary["events_dropped"]:
        lines.append(
            f"{summary['events_dropped']} events left out: they start after their video's end"
        )
    if summary["rows_from_before"]:
        lines.append(f"{summary['rows_from_before']} source rows were done by an earlier run")
        if lost:
            lines.append("what was set aside then is not tried again; overwrite=true starts over")
    return "\n".join(lines)
