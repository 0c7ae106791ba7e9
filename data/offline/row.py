"""One sample → its rows of the prepared dataset, or a quarantine reason. Runs in the worker processes."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data.media import Local, VideoFile, content_id
from data.offline.isolate import Failure, digest_of, part_done, run_each
from data.redact import redacted
from data.regions import absences
from data.sample import AlreadyWritten, Event, Rejected, Repair, Sample, ShardItem
from data.selection.choose import policy_record
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.outline import outlined
from data.selection.windows import choose_windows
from data.target import clock, speech_context
from data.video.info import BadVideo
from data.video.subtitles import BadSubtitles, subtitles
from data.window import Window, fills

INSTANT_S = 0.05
"""An event that starts up to this long after the video's end is kept, moved to the end, and lasts so long."""


@dataclass(frozen=True)
class Limits:
    """The limits below which a video is quarantined."""

    min_decoded: float
    """Share of its frames that can be decoded."""
    min_s: float
    """Duration in seconds."""


@dataclass(frozen=True)
class PreparedRows:
    """The rows of one sample: one, or one for each window of a long video."""

    rows: tuple[dict[str, Any], ...]
    """See `data.prepared.shards.FEATURES`; with `spool`, each has the sizes of its JPEGs as `frames`."""
    seconds: float
    """How long they took: it differs from run to run, so it is not stored."""
    spool: str | None = None
    """File with the JPEGs of all rows, one after the other: a film has too many for memory."""

    def read(self) -> Iterator[dict[str, Any]]:
        """The rows with their frames; removes the file."""
        if self.spool is None:
            yield from self.rows
            return
        with Path(self.spool).open("rb") as file:
            for row in self.rows:
                yield {**row, "frames": [_frame(file.read(size)) for size in row["frames"]]}
        Path(self.spool).unlink()


def _frame(jpeg: bytes) -> dict[str, Any]:
    return {"bytes": jpeg, "path": None}


def prepare_row(
    numbered: ShardItem, keys: FrameKeys, limits: Limits, threads: int, spool: Path
) -> PreparedRows | Rejected | AlreadyWritten:
    """One sample → its rows of the prepared dataset, or a `Rejected` with the quarantine reason. Runs in a
    worker.

    Args:
        spool: folder for the frames of long videos.
    """
    started = time.monotonic()
    item = numbered.item
    if not isinstance(item, Sample):
        return item
    media = item.video
    assert isinstance(media, Local)
    if not has_windows(item):
        keys = keys.model_copy(update={"window_s": None})
    rows: list[dict[str, Any]] = []
    spooled: str | None = None
    try:
        where = media.path if isinstance(media, VideoFile) else media
        for chosen in choose_windows(where, keys, limits.min_decoded, threads=threads):
            if chosen.duration_s < limits.min_s:
                raise BadVideo("too short", f"{media.name}: {chosen.duration_s:.3f} s")
            row = prepared_row(item, chosen, keys, item.video_id or content_id(media))
            if chosen.part_s is not None:
                spooled = spooled or _new_file(spool)
                with Path(spooled).open("ab") as file:
                    file.writelines(chosen.jpegs)
                row["frames"] = [len(jpeg) for jpeg in chosen.jpegs]
                part_done(f"{item.id}: {clock(chosen.part_s[1])} of {clock(chosen.duration_s)}")
            rows.append(row)
    except BadVideo as error:
        if spooled is not None:
            Path(spooled).unlink()
        detail = error.detail
        if (
            isinstance(media, VideoFile) and media.shown
        ):  # the path of a temporary copy means nothing
            detail = detail.replace(media.path, media.shown)
        return Rejected(item.id, media.name, error.reason, detail, digest_of(error))
    if not (item.untold or item.description or any(row["events"] for row in rows)):
        detail = f"every event starts after the video's end ({rows[-1]['duration_s']:.3f} s)"
        return Rejected(item.id, media.name, "no target left", detail)
    if item.subtitles and isinstance(media, VideoFile):
        _add_subtitles(rows, media.path)
    for row in rows:  # of the file, known at its end
        row["decoded_share"] = rows[-1]["decoded_share"]
        row["duration_s"] = rows[-1]["duration_s"]
    return PreparedRows(tuple(rows), time.monotonic() - started, spooled)


def _add_subtitles(rows: list[dict[str, Any]], path: str) -> None:
    """Put the video's subtitles into the context of its rows; those that cannot be read are counted."""
    try:
        said = subtitles(path)
    except BadSubtitles:
        rows[0]["repairs"].append(asdict(Repair("subtitles that cannot be read, left out", 1)))
        return
    for row in rows:  # each with what is said while it lasts: a film's text is long
        spoken = speech_context(
            (cue.start_s, cue.end_s, cue.text)
            for cue in said
            if cue.start_s < row["end_s"] and cue.end_s > row["start_s"]
        )
        row["context"] = "\n\n".join(filter(None, (row["context"], spoken)))


def has_windows(item: Sample) -> bool:
    """Whether a long video of this sample becomes windows: a description without times, a question or a
    conversation is about the whole."""
    return item.untold or (bool(item.events) and not (item.turns or item.prompt or item.system))


def _new_file(folder: Path) -> str:
    handle, path = tempfile.mkstemp(dir=folder, prefix="frames-")
    os.close(handle)
    return path


def prepared_row(
    item: Sample, chosen: ChosenFrames, keys: FrameKeys, video_id: str
) -> dict[str, Any]:
    """See `data.prepared.shards.FEATURES`."""
    end_s = chosen.duration_s
    metadata = item.metadata
    if item.boxes:
        chosen = outlined(chosen, item.boxes, keys)
        item = replace(item, events=with_absences(item, end_s))
        metadata = json.dumps(
            {**json.loads(metadata), "boxes": [astuple(one) for one in item.boxes]}
        )
    # an event that starts just after the end is about the last frame: labels round times differently
    kept = [e for e in item.events if e.start_s <= end_s + INSTANT_S]
    # labels round durations by up to a second: no more than that is not counted as a repair
    cut = sum(event.end_s > end_s + 1 for event in kept)
    events = []
    for event in kept:
        one = asdict(event)
        one["end_s"] = min(event.end_s, end_s)
        if one["start_s"] >= end_s:
            one["start_s"] = max(0.0, end_s - INSTANT_S)
        if chosen.part_s is None or (
            one["start_s"] < one["end_s"] and fills(Event(**one), Window(*chosen.part_s))
        ):
            events.append(one)
    repairs = Counter({r.what: r.count for r in chosen.repairs})
    start_s, stop_s = chosen.part_s or (0.0, end_s)
    if start_s == 0.0:  # of the sample: counted once
        repairs.update({r.what: r.count for r in item.repairs})
        # the source may have cut the same event already, at a duration that was too long: count it once
        repairs["cut at the video's end"] = max(cut, repairs["cut at the video's end"])
        repairs["starts after the video's end"] += len(item.events) - len(kept)
    return {
        "id": item.id if chosen.part_s is None else f"{item.id}@{clock(start_s)}",
        "sample_id": item.id,
        "source": item.source,
        "video_id": video_id,
        "frames": [_frame(jpeg) for jpeg in chosen.jpegs],
        "times_s": list(chosen.times_s),
        "duration_s": end_s,
        "start_s": start_s,
        "end_s": stop_s,
        "events": events,
        "description": item.description,
        "prompt": item.prompt,
        "system": item.system,
        "context": item.context,
        "turns": [asdict(t) for t in item.turns],
        "reasons": list(chosen.reasons),
        "ranks": list(chosen.ranks),
        "decoded_share": chosen.decoded_share,
        "unseen_s": chosen.unseen_s,
        "black_share": chosen.black_share,
        "still_share": chosen.still_share,
        "credit": item.credit,
        "metadata": metadata,
        "repairs": [asdict(Repair(what, n)) for what, n in sorted(repairs.items()) if n],
        "policy": json.dumps(redacted(policy_record(keys)), sort_keys=True),
    }


def with_absences(item: Sample, end_s: float) -> tuple[Event, ...]:
    """The events of a sample about one subject, with the stretches in which it is not in view."""
    if not item.events:
        return ()
    every = [*item.events, *absences(item.boxes, item.events, end_s)]
    return tuple(sorted(every, key=lambda e: (e.start_s, e.end_s)))


def choose_in_subprocess(
    path: str,
    keys: FrameKeys,
    min_decoded: float,
    *,
    timeout_s: float,
    memory_gib: float,
    on_progress: Callable[[str], None] | None = None,
) -> list[ChosenFrames]:
    """`choose_windows` in a process of its own, for an untrusted file. `on_progress` is called with how far a
    long video is.

    Raises:
        BadVideo: with the quarantine reason, also if the process crashes, hangs or runs out of memory.
    """
    (done,) = run_each(
        partial(_choose_or_error, keys, min_decoded),
        [path],
        workers=1,
        timeout_s=timeout_s,
        memory_gib=memory_gib,
        on_progress=on_progress,
    )
    if isinstance(done.outcome, Failure):
        raise BadVideo(done.outcome.reason, done.outcome.detail)
    if isinstance(done.outcome, BadVideo):
        raise done.outcome
    return done.outcome


def _choose_or_error(
    keys: FrameKeys, min_decoded: float, path: str
) -> list[ChosenFrames] | BadVideo:
    """`choose_windows`, with BadVideo returned instead of raised: the worker would report it as a crash."""
    windows = []
    try:
        for one in choose_windows(path, keys, min_decoded):
            windows.append(one)
            if one.part_s is not None:
                part_done(f"{clock(one.part_s[1])} of {clock(one.duration_s)}")
        return windows
    except BadVideo as error:
        return error
