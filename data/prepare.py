"""Source × policy → prepared dataset: one pass over the rows, many workers, nothing lost.

A run that is stopped continues where it stopped; the same input gives the same bytes. A video that
cannot be used becomes a quarantine row with a reason, never a crash.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import av
from PIL import Image
from tqdm import tqdm

from data.config import FrameKeys, PrepareConfig, SourceKeys, UserError, resolved
from data.isolate import Failure, run_each
from data.sample import Rejected, Sample
from data.selection.policies import POLICY_VERSION, select
from data.selection.shots import detector_for
from data.selection.signals import SHORT_PX, measure
from data.sources import jsonl, microworld
from data.video import BadVideo, fetch, probe, read

JPEG_QUALITY = 92
SOURCES = {"jsonl": jsonl.read, "microworld": microworld.read}


@dataclass(frozen=True)
class Chosen:
    """The frames of one video as a policy chose them, encoded for storing."""

    jpegs: tuple[bytes, ...]
    times_s: tuple[float, ...]
    reasons: tuple[str, ...]
    ranks: tuple[int, ...]
    duration_s: float
    decoded_share: float


def choose_frames(path: str, keys: FrameKeys, min_decoded: float = 0.9) -> Chosen:
    """Measure a video in one decode, select, and keep the selected frames as JPEG.

    The same function serves the offline run and the description of a new video, so that both see
    the same pictures.

    Raises:
        BadVideo: with the quarantine reason.
    """
    info = probe(path)
    frames = read(info, short_px=SHORT_PX, decoder=keys.decoder)
    signals = measure(info, frames, detector_for(keys))
    if signals.decoded_share < min_decoded:
        raise BadVideo(
            "truncated",
            f"{path}: {len(signals.times_s)} of {signals.num_announced} frames can be decoded "
            f"({signals.decoded_share:.0%}, min_decoded={min_decoded:g})",
        )
    selection = select(signals, keys)
    kept = fetch(info, selection.times_s, short_px=keys.px, decoder=keys.decoder)
    return Chosen(
        jpegs=tuple(_jpeg(frame.rgb) for frame in kept),
        times_s=selection.times_s,
        reasons=selection.reasons,
        ranks=selection.ranks,
        duration_s=selection.duration_s,
        decoded_share=signals.decoded_share,
    )


def _jpeg(rgb: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def policy_record(keys: FrameKeys) -> dict[str, Any]:
    """The frame policy as it travels with the dataset, the run and the adapter."""
    return {**resolved(keys), "version": POLICY_VERSION}


@dataclass(frozen=True)
class Numbered:
    """A source row and the shard it belongs to."""

    shard: int
    item: Sample | Rejected


def prepare_row(
    numbered: Numbered, keys: FrameKeys, min_decoded: float
) -> dict[str, Any] | Rejected:
    """One sample → one row of the prepared dataset, or the reason why not. Runs in a worker."""
    item = numbered.item
    if isinstance(item, Rejected):
        return item
    try:
        chosen = choose_frames(item.video.path, keys, min_decoded)
    except BadVideo as error:
        return Rejected(item.id, item.video.path, error.reason, error.detail)
    events = [asdict(e) for e in item.events if e.start_s < chosen.duration_s]
    for event in events:
        event["end_s"] = min(event["end_s"], chosen.duration_s)
    if not events and not item.description:
        detail = f"every event starts after the video's end ({chosen.duration_s:.3f} s)"
        return Rejected(item.id, item.video.path, "no target", detail)
    return {
        "id": item.id,
        "source": item.source,
        "frames": [{"bytes": jpeg, "path": None} for jpeg in chosen.jpegs],
        "times_s": list(chosen.times_s),
        "duration_s": chosen.duration_s,
        "events": events,
        "description": item.description,
        "prompt": item.prompt,
        "system": item.system,
        "turns": [asdict(t) for t in item.turns],
        "reasons": list(chosen.reasons),
        "ranks": list(chosen.ranks),
        "decoded_share": chosen.decoded_share,
        "credit": item.credit,
        "policy": json.dumps(policy_record(keys), sort_keys=True),
    }


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Run to the end and return the summary, which is also in `manifest.json`.

    Raises:
        UserError: the source cannot be read, or `out` holds something else.
    """
    from data import shards  # `datasets` takes a second to import: not in the workers

    started = time.monotonic()
    out = Path(config.out)
    identity = _identity(config)
    _claim(out, identity, config.overwrite)
    items = _without_repeats(SOURCES[config.source.name](config.source))
    work = partial(prepare_row, keys=config.frames, min_decoded=config.min_decoded)
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

    with tqdm(desc="prepare", unit="video", total=config.source.limit) as bar:
        outcomes = run_each(
            work,
            todo(),
            workers=config.workers,
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
        )
        for shard, finished in groupby(outcomes, key=lambda done: done.item.shard):
            rows: list[dict[str, Any]] = []
            rejected: list[Rejected] = []
            for done in finished:
                bar.update()
                outcome = _as_rejected(done.item.item, done.outcome)
                if isinstance(outcome, Rejected):
                    rejected.append(outcome)
                else:
                    rows.append(outcome)
            shards.write_shard(out, shard, rows, rejected)
    index = math.ceil(total / config.shard_rows)
    if index == 0:
        raise UserError(f"source={config.source.name} source.path={config.source.path}: no rows")
    every_rejected = [r for i in range(index) for r in shards.read_quarantine(out, i)]
    reasons = Counter(r.reason for r in every_rejected)
    counts = {"rows": 0, "frames": 0, "video_s": 0.0}
    for i in range(index):
        table = shards.pq.read_table(shards.shard_path(out, i), columns=["times_s", "duration_s"])
        counts["rows"] += table.num_rows
        counts["frames"] += sum(len(t) for t in table["times_s"].to_pylist())
        counts["video_s"] += sum(table["duration_s"].to_pylist())
    shards.write_quarantine(out, every_rejected)
    manifest = {
        "finished": True,
        "format_version": shards.FORMAT_VERSION,
        **identity,
        "shards": index,
        **counts,
        "quarantined": dict(sorted(reasons.items())),
        "versions": {name: version(name) for name in ("av", "decord2", "scenedetect-headless", "pillow")},
    }
    shards.write_atomically(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return {**manifest, "seconds": round(time.monotonic() - started, 2), "rows_from_before": done_before}


def _as_rejected(item: Sample | Rejected, outcome: dict[str, Any] | Rejected | Failure) -> dict[str, Any] | Rejected:
    if isinstance(outcome, Failure):
        video = item.video.path if isinstance(item, Sample) else item.video
        return Rejected(item.id, video, outcome.reason, outcome.detail)
    return outcome


def _without_repeats(items: Iterator[Sample | Rejected]) -> Iterator[Sample | Rejected]:
    """The second row of one id is set aside; ids are kept as 8-byte hashes."""
    seen: set[bytes] = set()
    for item in items:
        key = hashlib.blake2b(item.id.encode("utf-8", "replace"), digest_size=8).digest()
        if isinstance(item, Sample) and key in seen:
            yield Rejected(item.id, item.video.path, "same id twice", "give each row an id of its own")
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
    with open(keys.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(out: Path, identity: dict[str, Any], overwrite: bool) -> None:
    """Make `out` ours: empty, a run of the same identity to continue, or replaced on request."""
    from data import shards

    manifest = out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out}: is a file; give a folder")
    if out.is_dir() and any(out.iterdir()):
        try:
            there = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"out={out}: is not empty and no prepared dataset; choose another folder") from None
        changed = [key for key in identity if there.get(key) != identity[key]]
        if not changed:
            return
        if not overwrite:
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
    if summary["rows_from_before"]:
        lines.append(f"{summary['rows_from_before']} source rows were done by an earlier run")
    return "\n".join(lines)
