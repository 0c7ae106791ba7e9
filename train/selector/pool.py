"""What a selector learns values and events from: of each training video, its ticks, and a pool of frames that
could be shown.

The videos of a prepared dataset are measured once more, from the sources in its manifest, and kept in
a folder below `out/pool/` for each way to measure them, a file each: a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.config import resolved
from data.errors import UserError
from data.media import Local, Missing, VideoFile, content_id
from data.offline.isolate import fitting_workers, run_each
from data.offline.prepare import sources_of
from data.offline.row import has_windows, prepared_row
from data.offline.unpack import fetch_ahead
from data.prepared.dataset import Prepared
from data.sample import Sample, Selection
from data.selection.choose import Choose, recorded_keys
from data.selection.config import FrameKeys
from data.selection.learned.selector import selector_of
from data.selection.learned.ticks import Ticks, ticks_of
from data.selection.measure.signals import Signals
from data.selection.policies.allocate import cumulative
from data.selection.policies.boundaries import cut_probability, find_boundaries
from data.selection.policies.ranking import in_order
from data.selection.windows import choose_windows
from data.sources import catalog
from data.storage import atomic
from data.video.info import BadVideo

TIMEOUT_S, MEMORY_GIB = 600.0, 4.0


@dataclass(frozen=True)
class Pictured:
    """A video, or a window of a long one, with M frames that could be shown."""

    row: dict[str, Any]
    """As in a prepared dataset, without `frames`."""
    jpegs: tuple[bytes, ...]

    @property
    def id(self) -> str:
        return str(self.row["id"])


@dataclass(frozen=True)
class PoolVideo(Pictured):
    """The same with what a selector sees of it."""

    ticks: Ticks
    at: np.ndarray
    """(M,) the tick of each frame, which shows it."""
    shots: np.ndarray
    """(M,) cumulative hazard of shot boundaries: two frames that differ by h show one shot with probability
    exp(-h)."""


def pool_of(
    dataset: Prepared, ids: Collection[str], size: int, selector: FrameKeys, folder: Path
) -> list[PoolVideo]:
    """The pool of these samples of a dataset, `size` frames of each window. Videos that cannot be used any more
    are left out, and counted.

    Args:
        selector: names the selector whose boundaries the ticks are told.

    Raises:
        UserError: the videos are no longer where the manifest says, or none can be used.
    """
    own = recorded_keys(dataset.manifest["policy"])
    keys = selector.model_copy(update={"max": size, "px": own.px, "window_s": own.window_s})
    of = [resolved(keys), selector_of(selector).sha256, dataset.manifest["sources"]]
    folder = folder / hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(ids)

    def kept(name: str) -> bool:
        return (folder / _file_of(name)).is_file()

    for name, found in measured_each(dataset, wanted, partial(_measured, keys=keys), kept):
        _write(folder / _file_of(name), found if isinstance(found, list) else [])
    found_of = {name: list(_read(folder / _file_of(name))) for name in sorted(wanted)}
    if missing := [name for name, videos in found_of.items() if not videos]:
        some = ", ".join(missing[:3]) + ", …" * (len(missing) > 3)
        tqdm.write(f"{len(missing)} of {len(wanted)} videos cannot be used any more: {some}")
    pool = [video for videos in found_of.values() for video in videos]
    if not pool:
        raise UserError(f"data.path={dataset.path}: none of its videos can be measured any more")
    return pool


def measured_each(
    dataset: Prepared,
    ids: Collection[str],
    work: Callable[[Sample], Any],
    known: Callable[[str], bool] = lambda name: False,
) -> Iterator[tuple[str, Any]]:
    """Id and outcome of `work`, which runs in worker processes, for these samples of a dataset, from the sources in its
    manifest. Those that are `known` are left out."""
    with (
        tempfile.TemporaryDirectory(prefix="scenescribe-pool-") as spool,
        tqdm(desc="measure", unit="video", total=len(ids)) as bar,
    ):
        rows = _to_measure(dataset, ids, known, bar.update)
        done = run_each(
            work,
            fetch_ahead(rows, lambda s: s.video, _with_local, Path(spool)),
            workers=fitting_workers(MEMORY_GIB),
            timeout_s=TIMEOUT_S,
            memory_gib=MEMORY_GIB,
        )
        for one in done:
            yield one.item.id, one.outcome
            bar.update()
            media = one.item.video
            if isinstance(media, VideoFile) and Path(media.path).parent == Path(spool):
                Path(media.path).unlink(missing_ok=True)


def _file_of(name: str) -> str:
    """A file name for a sample, whatever its id is."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:24] + ".npz"


def _to_measure(
    dataset: Prepared,
    ids: Collection[str],
    known: Callable[[str], bool],
    skip: Callable[[int], object],
) -> Iterator[Sample]:
    """The samples that are not known."""
    left = set(ids)
    for row in catalog.read(sources_of(dataset.manifest)):
        if not left:
            return
        if not isinstance(row, Sample) or row.id not in left:
            continue
        left.discard(row.id)
        if known(row.id):
            skip(1)
        else:
            yield row


def _with_local(sample: Sample, local: Local | Missing) -> Sample:
    return sample if isinstance(local, Missing) else replace(sample, video=local)


def _measured(sample: Sample, keys: FrameKeys) -> list[PoolVideo] | str:
    """The pool of one sample, or why there is none. Runs in a worker."""
    boundaries = selector_of(keys).boundaries
    last: list[tuple[Ticks, np.ndarray, np.ndarray]] = []

    def choose(signals: Signals, keys: FrameKeys) -> Selection:
        """The frames of evenly spaced ticks: what is learned of a tick is learned of the frame that it shows."""
        ticks = ticks_of(signals, boundaries)
        at = np.unique((np.arange(keys.max) + 0.5) * len(ticks) // keys.max).astype(np.int64)
        probability = cut_probability(find_boundaries(signals, keys), len(signals.times_s))
        last[:] = [(ticks, at, cumulative(probability)[ticks.frames[at]])]
        return in_order(signals, ticks.frames[at], "tick")

    try:
        return [PoolVideo(v.row, v.jpegs, *last[0]) for v in pictured(sample, keys, choose)]
    except BadVideo as error:
        return error.reason


def pictured(sample: Sample, keys: FrameKeys, choose: Choose) -> Iterator[Pictured]:
    """The windows of a sample that are told of, with the frames that `choose` chooses.

    Raises:
        BadVideo: with the reason.
    """
    media = sample.video
    if not isinstance(media, Local):
        raise BadVideo("missing file", "its video cannot be had")
    if not has_windows(sample):
        keys = keys.model_copy(update={"window_s": None})
    where = media.path if isinstance(media, VideoFile) else media
    for chosen in choose_windows(where, keys, choose=choose):
        row = prepared_row(sample, chosen, keys, sample.video_id or content_id(media))
        del row["frames"]
        if row["events"] or row["description"]:
            yield Pictured(row, chosen.jpegs)


def _write(path: Path, videos: Sequence[PoolVideo]) -> None:
    """Write the windows of one sample; also none, so that it is not measured again."""
    arrays: dict[str, np.ndarray] = {}
    for i, one in enumerate(videos):
        arrays |= {
            f"{i}.row": np.frombuffer(json.dumps(one.row).encode(), np.uint8),
            f"{i}.jpegs": np.frombuffer(b"".join(one.jpegs), np.uint8),
            f"{i}.sizes": np.array([len(j) for j in one.jpegs]),
            f"{i}.frames": one.ticks.frames,
            f"{i}.times_s": one.ticks.times_s,
            f"{i}.pictures": one.ticks.pictures,
            f"{i}.told": one.ticks.told,
            f"{i}.at": one.at,
            f"{i}.shots": one.shots,
        }
    buffer = io.BytesIO()
    np.savez(buffer, count=np.array(len(videos)), **arrays)  # type: ignore[arg-type]
    with atomic(path) as unfinished:
        unfinished.write_bytes(buffer.getvalue())


def _read(path: Path) -> Iterator[PoolVideo]:
    """The windows of one sample; none if its source did not yield it."""
    if not path.is_file():
        return
    with np.load(path, allow_pickle=False) as stored:
        for i in range(int(stored["count"])):
            ends = np.cumsum(stored[f"{i}.sizes"]).tolist()
            data = stored[f"{i}.jpegs"].tobytes()
            yield PoolVideo(
                json.loads(stored[f"{i}.row"].tobytes()),
                tuple(data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)),
                Ticks(*(stored[f"{i}.{n}"] for n in ("frames", "times_s", "pictures", "told"))),
                stored[f"{i}.at"],
                stored[f"{i}.shots"],
            )
