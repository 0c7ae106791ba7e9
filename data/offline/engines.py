"""The engines that write the shards: worker processes of this machine, or tasks of a Ray cluster.

Both write the same bytes, because each shard is written by one process from rows in source order.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from data.config import GIB, ROOT
from data.errors import UserError, one_line
from data.media import Local, Media, Missing, VideoFile
from data.offline.config import PrepareConfig
from data.offline.isolate import Done, Failure, fitting_workers, run_each
from data.offline.row import Limits, PreparedRows, prepare_row
from data.offline.unpack import fetch_ahead
from data.sample import AlreadyWritten, Outcome, Rejected, Sample, ShardItem
from data.storage import Folder, open_folder

Prepared = PreparedRows | Rejected | AlreadyWritten
Timed = Callable[[str, float], None]
"""Callback that gets the id of a video, and the seconds that choosing its frames took."""


def run_local(
    out: Folder,
    rows: Iterator[ShardItem],
    config: PrepareConfig,
    on_rows_done: Callable[[int], None],
    timed: Timed | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> None:
    """Write the shards of `rows`, which are ordered by shard.

    Args:
        on_rows_done: called with 1 after each source row.
        timed: called after each prepared source row.
        on_progress: called with how far a long video is.

    Raises:
        UserError: a video is bad and `on_bad=stop`, or the source or the Hub cannot be read any more.
    """
    # imported here because it imports `datasets`, which takes a second; the workers do not need it
    from data.prepared.shards import write_shard

    with tempfile.TemporaryDirectory(dir=out.scratch(), prefix="videos-") as spool:
        work = partial(
            prepare_row,
            keys=config.frames,
            limits=Limits(config.min_decoded, config.min_s),
            threads=config.threads,
            spool=Path(spool),
        )
        outcomes = run_each(
            work,
            fetch_ahead(rows, _media, _with_local, Path(spool)),
            workers=config.workers or fitting_workers(config.memory_gib),
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
            on_progress=on_progress,
        )

        def of_shard(finished: Iterator[Done[ShardItem, Prepared]]) -> Iterator[Outcome]:
            for done in finished:
                outcome = _outcome(done, Path(spool))
                if isinstance(outcome, Rejected) and config.on_bad == "stop":
                    raise UserError(
                        f"{outcome.id}: {outcome.reason}: {outcome.detail} "
                        "(on_bad=quarantine quarantines it and continues)"
                    )
                on_rows_done(1)
                if not isinstance(outcome, PreparedRows):
                    yield outcome
                    continue
                if timed is not None:
                    timed(outcome.rows[0]["sample_id"], outcome.seconds)
                yield from outcome.read()

        try:
            for shard, finished in groupby(outcomes, key=lambda done: done.item.shard):
                write_shard(out, shard, of_shard(finished))
        finally:
            outcomes.close()  # type: ignore[attr-defined] # a generator: stops its workers


def _media(row: ShardItem) -> Media | None:
    """The video that must be fetched for a row, if any."""
    return row.item.video if isinstance(row.item, Sample) else None


def _with_local(row: ShardItem, local: Local | Missing) -> ShardItem:
    """The row with its video replaced by the local file, or rejected if that is missing."""
    assert isinstance(row.item, Sample)
    if isinstance(local, Missing):
        rejected = Rejected(row.item.id, row.item.video.name, local.reason, str(local))
        return replace(row, item=rejected)
    return replace(row, item=replace(row.item, video=local))


def _outcome(done: Done[ShardItem, Prepared], spool: Path) -> Prepared:
    """The outcome of a row; a `Failure` of its worker becomes a `Rejected`. Deletes the row's temporary copy
    of the video, if there is one."""
    item, outcome = done.item.item, done.outcome
    copy = item.video if isinstance(item, Sample) and isinstance(item.video, VideoFile) else None
    if copy is not None and Path(copy.path).parent == spool:
        Path(copy.path).unlink(missing_ok=True)
    if not isinstance(outcome, Failure):
        return outcome
    detail = outcome.detail
    if copy is not None and copy.shown:
        detail = detail.replace(copy.path, copy.shown)
    name = item.video.name if isinstance(item, Sample) else ""
    return Rejected(item.id, name, outcome.reason, detail, outcome.digest)


def run_ray(
    out: Folder,
    rows: Iterator[ShardItem],
    config: PrepareConfig,
    on_rows_done: Callable[[int], None],
) -> None:
    """Write each shard in a Ray task with one worker process; as many tasks run as the cluster has room for.

    If a node dies, its tasks run again on another node. Videos and `out` must be reachable from all nodes.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or as `run_local`.
    """
    ray = _ray(config.address)
    one = config.model_copy(update={"workers": 1, "engine": "local"})
    memory = int(config.memory_gib * GIB)
    most = max((node["Resources"].get("memory", 0) for node in ray.nodes()), default=0)
    if most < memory:  # Ray would wait forever for such a node
        ray.shutdown()
        raise UserError(
            f"memory_gib={config.memory_gib:g}: the largest node of the cluster has "
            f"{most / GIB:.1f} GiB for tasks; lower it"
        )
    task = ray.remote(_ray_task).options(num_cpus=1, memory=memory, max_retries=-1)
    at_once = config.workers or int(2 * ray.cluster_resources().get("CPU", 1))
    pending: set[Any] = set()
    try:
        for _, of_shard in groupby(rows, key=lambda row: row.shard):
            while len(pending) >= at_once:
                pending = _wait_for_one(ray, pending, on_rows_done)
            pending.add(task.remote(out.url, list(of_shard), one, str(Path.cwd())))
        while pending:
            pending = _wait_for_one(ray, pending, on_rows_done)
    finally:
        ray.shutdown()


def _ray_task(url: str, rows: list[ShardItem], config: PrepareConfig, folder: str) -> int:
    """Write one shard in the Ray task; returns its number of rows."""
    if Path(folder).is_dir():  # relative paths refer to the folder in which the run was started
        os.chdir(folder)
    run_local(open_folder(url), iter(rows), config, lambda count: None)
    return len(rows)


def _wait_for_one(ray: Any, pending: set[Any], on_rows_done: Callable[[int], None]) -> set[Any]:
    """Wait until a task has finished; returns the tasks that are still pending.

    Raises:
        UserError: the cluster failed, or the task raised one.
    """
    done, waiting = ray.wait(list(pending), num_returns=1)
    for reference in done:
        try:
            on_rows_done(ray.get(reference))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError | OSError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise UserError(
                f"the cluster failed ({one_line(error)}); run the same command again to continue"
            ) from None
    return set(waiting)


def _ray(address: str | None) -> Any:
    """The `ray` module, connected to the cluster at `address`, else at RAY_ADDRESS, else to a new one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # suppress Ray's report of a dead node (fifty lines, printed twice): its tasks run again elsewhere
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "Raylet is terminated")
    try:
        import ray
    except ImportError:
        raise UserError("engine=ray: Ray is not installed; pip install -e '.[ray]'") from None
    try:
        if address and ":" in address:  # fail within 10 s; Ray itself would wait for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(
            address=address,
            runtime_env={"py_modules": [str(ROOT / "data")]},
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"address={address}: no Ray cluster there ({one_line(error)})") from None
    return ray
