"""Sources × policy → prepared dataset: one pass over the rows, many workers, nothing lost.

A run that is stopped continues where it stopped; the same input gives the same bytes. A video that
cannot be used becomes a quarantine row with a reason, never a crash.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

from tqdm import tqdm

from data.config import renamed
from data.errors import UserError
from data.hub import COMMIT
from data.offline.config import PrepareConfig
from data.offline.engines import Timed, run_local, run_ray
from data.prepared.card import CARD, dataset_card
from data.sample import AlreadyWritten, FilteredOut, Sample, ShardItem
from data.selection.choose import policy_record
from data.selection.config import FrameKeys
from data.selection.policies.dispatch import check_policy
from data.sources import catalog
from data.sources.config import SourceKeys
from data.sources.known_sources import SOURCES
from data.storage import Folder, listing_hash, open_folder

MANIFEST = "manifest.json"
Manifest = dict[str, Any]


def prepare(
    config: PrepareConfig, only: Collection[str] | None = None, timed: Timed | None = None
) -> dict[str, Any]:
    """Run to the end and return the summary, which is also in `manifest.json`.

    Args:
        only: ids of the samples to prepare; None for all.
        timed: is told how long choosing the frames of each video took.

    Raises:
        UserError: the source cannot be read, or `out` holds something else.
    """
    from data.prepared import shards

    started = time.monotonic()
    out = open_folder(config.out)
    there = _manifest_there(out)
    config = _completed(config, there)
    check_policy(config.frames)
    sources = _pinned(config.sources or (config.source,), {} if config.overwrite else there)
    identity = _identity(config, sources)  # refuses a source that is not there
    if only is not None:
        identity["only_sha256"] = listing_hash(list(only))
    sources = _pinned(sources, identity)  # what is read is what the manifest says
    retry = config.retry == "quarantine"
    if _fits(out, there, identity, config.overwrite) and _whole(out, there) and not retry:
        # killed while it tidied up, or of an earlier version
        if out.has_scratch() or not out.has(CARD):
            with out.locked():
                out.write(CARD, dataset_card(there))
                out.clear_scratch()
        return _summary(there, started, before=there["source_rows"])
    expected = catalog.count(sources)  # refuses an empty one, before out is ours
    if only is not None:
        expected = len(only)
    out.make()
    with out.locked():
        finished = _claim(out, _manifest_there(out), identity, config.overwrite)
        out.clear_scratch()
        plan = ShardPlan(out, config.shard_rows, finished, retry, only)
        run = run_ray if config.engine == "ray" else partial(run_local, timed=timed)
        with tqdm(desc="prepare", unit="video", total=expected, smoothing=0.05) as bar:
            plan.bar = bar
            run(out, plan.todo(catalog.read(sources)), config, plan.settled)
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
    """Which rows of the source are still to be done, and in which shard they belong."""

    out: Folder
    shard_rows: int
    finished: set[int]
    """Shards that are there."""
    retry: bool
    """Try the quarantined rows again."""
    only: Collection[str] | None = None
    bar: Any = None
    total: int = 0
    done_before: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def todo(self, rows: Iterator[catalog.SourceRow]) -> Iterator[ShardItem]:
        """In source order. Of a shard that is done again, good rows are taken over."""
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
                kept = self._kept(shard)
                again = shard not in self.finished or (self.retry and self._lost_some(shard))
            self.total += 1
            if not again:
                self.done_before += 1
                self.bar.update()
            elif isinstance(row, Sample) and row.id in kept:
                self.done_before += 1
                yield ShardItem(shard, AlreadyWritten(row.id))
            else:
                yield ShardItem(shard, row)

    def settled(self, count: int) -> None:
        """Advance the progress bar."""
        self.bar.update(count)

    def _kept(self, shard: int) -> set[str]:
        from data.prepared.shards import shard_ids

        return shard_ids(self.out, shard) if self.retry and shard in self.finished else set()

    def _lost_some(self, shard: int) -> bool:
        from data.prepared.shards import quarantined

        return next(quarantined(self.out, shard), None) is not None


# --- whose folder it is ----------------------------------------------------------------------


def _identity(config: PrepareConfig, sources: Sequence[SourceKeys]) -> Manifest:
    """What decides the content of the shards: two runs with one identity write the same bytes."""
    from data.prepared.shards import FORMAT_VERSION

    identity = {
        "format_version": FORMAT_VERSION,
        "sources": catalog.describe_sources(sources),
        "policy": policy_record(config.frames),
        "min_decoded": config.min_decoded,
        "min_s": config.min_s,
        "shard_rows": config.shard_rows,
    }
    return dict(json.loads(json.dumps(identity)))


def _manifest_there(out: Folder) -> Manifest:
    """What a run wrote there before; empty where there was none, or it cannot be read."""
    try:
        there = dict(json.loads(out.text(MANIFEST)))
        for old, new in list(renamed(FrameKeys, there["policy"])):
            there["policy"][new] = there["policy"].pop(old)
        return there
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _completed(config: PrepareConfig, there: Manifest) -> PrepareConfig:
    """Without a source, the run in `out` goes on as it was begun."""
    if config.sources and config.source.name is not None:
        raise UserError("source, sources: give one of them")
    if config.sources or config.source.name is not None:
        return config
    if "sources" not in there:
        raise UserError(
            f"source: missing; write source=… ({', '.join(SOURCES)}); "
            f"out={config.out} holds no run to continue"
        )
    fixed = sorted(config.model_fields_set & {"frames", "min_decoded", "min_s", "shard_rows"})
    if fixed:
        raise UserError(
            f"{', '.join(fixed)}: without a source the run in out={config.out} goes on as it was "
            "begun; leave that out, or give the source"
        )
    policy = {name: value for name, value in there["policy"].items() if name != "version"}
    update = {
        "sources": sources_of(there),
        "frames": FrameKeys.model_validate(policy),
        **{name: there[name] for name in ("min_decoded", "min_s", "shard_rows")},
    }
    return config.model_copy(update=update)


def sources_of(manifest: Manifest) -> tuple[SourceKeys, ...]:
    """The sources of a prepared dataset, to be read again as they were."""
    sources = []
    for record in manifest["sources"]:
        keys = {k: v for k, v in record.items() if k not in catalog.DERIVED}
        sources.append(SourceKeys.model_validate(keys))
    return tuple(_pinned(sources, manifest))


def _pinned(sources: Sequence[SourceKeys], there: Manifest) -> Sequence[SourceKeys]:
    """A dataset on the Hub may have moved on since the run began: go on with the commit it began
    with, unless another is asked for."""
    begun = there.get("sources", [])
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


def _fits(out: Folder, there: Manifest, identity: Manifest, overwrite: bool) -> bool:
    """True where `out` holds a run of this identity, False where it holds none.

    Raises:
        UserError: it holds something else.
    """
    names = {n for n in out.names() if not n.endswith(".tmp") and not n.startswith(".")}
    if not names:
        if out.fs.isfile(out.root):
            raise UserError(f"out={out.url}: is a file; give a folder")
        return False
    if not there:
        raise UserError(
            f"out={out.url}: is not empty and no prepared dataset; choose another folder"
        )
    changed = [key for key in identity if there.get(key) != identity[key]]
    # a run of this very kind that was stopped goes on, also if it began by overwriting
    if overwrite:
        return not changed and not there.get("finished")
    if changed and _shards_in(names):
        raise UserError(
            f"out={out.url}: holds a dataset prepared otherwise ({', '.join(changed)} differs); "
            "choose another out, or add overwrite=true"
        )
    return not changed


def _whole(out: Folder, there: Manifest) -> bool:
    """True where the run has ended and all of its shards are still there."""
    from data.prepared.shards import shard_name

    names = out.names()
    return bool(there.get("finished")) and all(
        shard_name(i) in names for i in range(there["shards"])
    )


def _claim(out: Folder, there: Manifest, identity: Manifest, overwrite: bool) -> set[int]:
    """Make `out` ours and say which shards are there already."""
    if not _fits(out, there, identity, overwrite):
        for name in out.names():
            if name.startswith("shard-") or name in ("quarantine.jsonl", CARD):
                out.remove(name)
        out.remove(MANIFEST)  # last: killed before that, the folder still says what it is
    begun = {"finished": False, **identity}
    out.write(MANIFEST, json.dumps(begun, indent=1) + "\n")
    return _shards_in(out.names())


def _shards_in(names: set[str]) -> set[int]:
    """Numbers of the shards among the files of a folder."""
    found = (re.fullmatch(r"shard-(\d+)\.parquet", name) for name in names)
    return {int(match[1]) for match in found if match}
