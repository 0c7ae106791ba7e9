"""Sources and a frame policy → a prepared dataset, in one pass over the source rows with many workers.

A stopped run continues where it stopped; the same input gives the same bytes. A video that cannot be used is
quarantined with a reason and never ends the run with a crash.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from tqdm import tqdm

from data.config import resolved
from data.errors import UserError, differing, made_otherwise
from data.hub import COMMIT
from data.offline.config import PrepareConfig
from data.offline.engines import Timed, run_local, run_ray
from data.prepared.card import CARD, dataset_card
from data.sample import AlreadyWritten, FilteredOut, Sample, ShardItem
from data.selection.choose import policy_record, recorded_keys
from data.selection.policies.dispatch import check_policy, selector_files
from data.sources import catalog
from data.sources.config import SourceKeys
from data.sources.known_sources import SOURCES
from data.storage import Folder, listing_hash, open_folder

MANIFEST = "manifest.json"
Manifest = dict[str, Any]


def prepare(
    config: PrepareConfig, only: Collection[str] | None = None, timed: Timed | None = None
) -> dict[str, Any]:
    """Prepare the dataset in `config.out`; returns the manifest (as in `manifest.json`) and the run's time.

    Args:
        only: ids of the samples to prepare; None: all.
        timed: called after each video with its id and the seconds that choosing its frames took.

    Raises:
        UserError: the source cannot be read, or `out` holds something else.
    """
    from data.prepared import shards

    started = time.monotonic()
    out = open_folder(config.out)
    existing = _existing_manifest(out)
    config = _completed_config(config, existing)
    config = config.model_copy(update={"frames": check_policy(config.frames)})
    sources = _pinned(config.sources or (config.source,), {} if config.overwrite else existing)
    identity = _identity(config, sources)  # raises if a source does not exist
    if only is not None:
        identity["only_sha256"] = listing_hash(list(only))
    sources = _pinned(sources, identity)  # read the revisions that the manifest records
    retry = config.retry == "quarantine"
    same_run = _holds_same_run(out, existing, identity, config.overwrite)
    if same_run and _is_complete(out, existing) and not retry:
        # the run was killed while it cleaned up, or an earlier version wrote no card
        if out.has_scratch() or not out.has(CARD):
            with out.locked():
                out.write(CARD, dataset_card(existing))
                out.clear_scratch()
        return _summary(existing, started, before=existing["source_rows"])
    expected = catalog.count(sources)  # raises if a source is empty, before `out` is changed
    if only is not None:
        expected = len(only)
    out.make()
    with out.locked():
        finished = _claim(out, _existing_manifest(out), identity, config.overwrite)
        out.clear_scratch()
        for name, content in selector_files(config.frames).items():
            out.write_bytes(name, content)
        plan = ShardPlan(out, config.shard_rows, finished, retry, only)
        with tqdm(desc="prepare", unit="video", total=expected, smoothing=0.05) as bar:
            plan.bar = bar
            rows = plan.todo(catalog.read(sources))
            if config.engine == "ray":
                run_ray(out, rows, config, plan.on_rows_done)
            else:
                run_local(out, rows, config, plan.on_rows_done, timed, bar.set_postfix_str)
        manifest = {
            "finished": True,
            **identity,
            "shards": -(-plan.total // config.shard_rows),
            "source_rows": plan.total,
            "left_out": dict(sorted(plan.left_out.items())),
            **shards.summed(out, -(-plan.total // config.shard_rows)),
            "versions": {
                name: version(name) for name in ("av", "decord2", "scenedetect-headless", "pillow")
            },
        }
        out.write(CARD, dataset_card(manifest))
        out.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")
        out.clear_scratch()
    return _summary(manifest, started, before=plan.done_before)


def _summary(manifest: Manifest, started: float, before: int) -> dict[str, Any]:
    seconds = round(time.monotonic() - started, 2)
    return {**manifest, "seconds": seconds, "rows_from_before": before}


@dataclass
class ShardPlan:
    """Decides which source rows must still be prepared, and to which shard each belongs."""

    out: Folder
    shard_rows: int
    finished: set[int]
    """Numbers of the shards that exist."""
    retry: bool  # the quarantined rows
    only: Collection[str] | None = None
    bar: Any = None
    total: int = 0
    """Rows so far, without those filtered out."""
    done_before: int = 0
    """Those of them that an earlier run has done."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → number of rows filtered out."""

    def todo(self, rows: Iterator[catalog.SourceRow]) -> Iterator[ShardItem]:
        """The rows to prepare, in source order. In a shard that is written again, rows that an earlier run
        prepared come as `AlreadyWritten`."""
        shard, kept = -1, set[str]()
        for row in rows:
            if self.only is not None:
                if self.total == len(self.only):
                    return
                if not isinstance(row, FilteredOut) and row.id not in self.only:
                    row = FilteredOut("not asked for")
            if isinstance(row, FilteredOut):
                self.left_out[row.why] += 1
                continue
            if self.total // self.shard_rows != shard:
                shard = self.total // self.shard_rows
                kept = self._prepared_ids(shard)
                again = shard not in self.finished or (self.retry and self._has_quarantined(shard))
            self.total += 1
            if not again:
                self.done_before += 1
                self.bar.update()
            elif isinstance(row, Sample) and row.id in kept:
                self.done_before += 1
                yield ShardItem(shard, AlreadyWritten(row.id))
            else:
                yield ShardItem(shard, row)

    def on_rows_done(self, count: int) -> None:
        """Advance the progress bar."""
        self.bar.update(count)

    def _prepared_ids(self, shard: int) -> set[str]:
        from data.prepared.shards import shard_ids

        return shard_ids(self.out, shard) if self.retry and shard in self.finished else set()

    def _has_quarantined(self, shard: int) -> bool:
        from data.prepared.shards import quarantined

        return next(quarantined(self.out, shard), None) is not None


# --- what the output folder holds -------------------------------------------------------------


def _identity(config: PrepareConfig, sources: Sequence[SourceKeys]) -> Manifest:
    """Everything that decides the content of the shards: runs of equal identity write the same bytes."""
    from data.prepared.shards import FORMAT_VERSION

    return {
        "format_version": FORMAT_VERSION,
        "sources": catalog.describe_sources(sources),
        "policy": policy_record(config.frames),
        "min_decoded": config.min_decoded,
        "min_s": config.min_s,
        "shard_rows": config.shard_rows,
    }


def _existing_manifest(out: Folder) -> Manifest:
    """The manifest of an earlier run in `out`; empty if there is none, or it cannot be read."""
    try:
        manifest = dict(json.loads(out.text(MANIFEST)))
        own = manifest["policy"]  # with the names and the defaults of keys that came later
        policy = json.dumps({**resolved(recorded_keys(own)), "version": own.get("version")})
        return {**manifest, "policy": json.loads(policy)}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _completed_config(config: PrepareConfig, existing: Manifest) -> PrepareConfig:
    """The config, completed from the run in `out` if it names no source: that run is continued unchanged."""
    if config.sources and config.source.name is not None:
        raise UserError("source, sources: both are given; give only one of them")
    if config.sources or config.source.name is not None:
        return config
    if "sources" not in existing:
        raise UserError(
            f"source: missing; write source=… ({', '.join(SOURCES)}); "
            f"out={config.out} holds no run to continue"
        )
    fixed = sorted(config.model_fields_set & {"frames", "min_decoded", "min_s", "shard_rows"})
    if fixed:
        raise UserError(
            f"{', '.join(fixed)}: without a source, the run in out={config.out} continues with its "
            "own settings; leave these keys out, or give the source"
        )
    update = {
        "sources": sources_of(existing),
        "frames": recorded_keys(existing["policy"]),
        **{name: existing[name] for name in ("min_decoded", "min_s", "shard_rows")},
    }
    return config.model_copy(update=update)


def sources_of(manifest: Manifest) -> tuple[SourceKeys, ...]:
    """The sources of a prepared dataset, pinned to the revisions that it was made from."""
    sources = []
    for record in manifest["sources"]:
        keys = {k: v for k, v in record.items() if k not in catalog.DERIVED}
        sources.append(SourceKeys.model_validate(keys))
    return tuple(_pinned(sources, manifest))


def _pinned(sources: Sequence[SourceKeys], manifest: Manifest) -> Sequence[SourceKeys]:
    """The sources with the Hub commits that `manifest` records, unless a revision is given: a dataset on the
    Hub may have changed since the run began."""
    begun = manifest.get("sources", [])
    if len(begun) != len(sources):
        return sources
    return [
        keys.model_copy(update={"revision": record["version"]})
        if keys.revision is None
        and isinstance(record.get("version"), str)
        and COMMIT.fullmatch(record["version"])
        else keys
        for keys, record in zip(sources, begun, strict=True)
    ]


def _holds_same_run(out: Folder, existing: Manifest, identity: Manifest, overwrite: bool) -> bool:
    """Whether `out` holds a run of this identity to continue; False if it is empty or is to be overwritten.

    Raises:
        UserError: it holds something else.
    """
    names = {n for n in out.names() if not n.endswith(".tmp") and not n.startswith(".")}
    if not names:
        if out.fs.isfile(out.root):
            raise UserError(f"out={out.url}: is a file; give a folder")
        return False
    if not existing:
        raise UserError(
            f"out={out.url}: is not empty and holds no prepared dataset; choose another folder"
        )
    changed = differing(existing, identity)
    if overwrite:  # a stopped run of the same identity is continued, not overwritten once more
        return not changed and not existing.get("finished")
    if changed and _shards_in(names):
        raise made_otherwise(f"out={out.url}", "a dataset", changed)
    return not changed


def _is_complete(out: Folder, existing: Manifest) -> bool:
    """Whether the run has finished and all of its shards still exist."""
    from data.prepared.shards import shard_name

    names = out.names()
    return bool(existing.get("finished")) and all(
        shard_name(i) in names for i in range(existing["shards"])
    )


def _claim(out: Folder, existing: Manifest, identity: Manifest, overwrite: bool) -> set[int]:
    """Remove another run's files from `out` and write the manifest; returns the shards that exist already."""
    if not _holds_same_run(out, existing, identity, overwrite):
        for name in out.names():
            if name.startswith("shard-") or name in ("quarantine.jsonl", CARD):
                out.remove(name)
        out.remove(MANIFEST)  # last, so that a run killed here leaves a recognisable folder
    begun = {"finished": False, **identity}
    out.write(MANIFEST, json.dumps(begun, indent=1) + "\n")
    return _shards_in(out.names())


def _shards_in(names: set[str]) -> set[int]:
    """Numbers of the shards among these file names."""
    found = (re.fullmatch(r"shard-(\d+)\.parquet", name) for name in names)
    return {int(match[1]) for match in found if match}
