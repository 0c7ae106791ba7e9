"""One sample → one row of the prepared dataset, or a quarantine reason. Runs in the worker processes."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from data.media import Local, VideoFile, content_id
from data.offline.isolate import Failure, digest_of, run_each
from data.redact import redacted
from data.sample import Outcome, Rejected, Repair, Sample, ShardItem
from data.selection.choose import ChosenFrames, choose_frames, policy_record
from data.selection.config import FrameKeys
from data.video.info import BadVideo

INSTANT_S = 0.05
"""An event that starts up to this long after the video's end is kept, moved to the end."""


@dataclass(frozen=True)
class Limits:
    """The limits below which a video is quarantined."""

    min_decoded: float
    """Share of its frames that can be decoded."""
    min_s: float
    """Duration in seconds."""


def prepare_row(numbered: ShardItem, keys: FrameKeys, limits: Limits, threads: int) -> Outcome:
    """One sample → one row of the prepared dataset, or a `Rejected` with the quarantine reason. Runs in a
    worker. The row also has `seconds`, how long it took: it differs from run to run, so it is not stored."""
    started = time.monotonic()
    item = numbered.item
    if not isinstance(item, Sample):
        return item
    media = item.video
    assert isinstance(media, Local)
    try:
        where = media.path if isinstance(media, VideoFile) else media
        chosen = choose_frames(where, keys, limits.min_decoded, threads=threads)
        if chosen.duration_s < limits.min_s:
            raise BadVideo("too short", f"{media.name}: {chosen.duration_s:.3f} s")
    except BadVideo as error:
        detail = error.detail
        if (
            isinstance(media, VideoFile) and media.shown
        ):  # the path of a temporary copy means nothing
            detail = detail.replace(media.path, media.shown)
        return Rejected(item.id, media.name, error.reason, detail, digest_of(error))
    row = _row(item, chosen, keys, item.video_id or content_id(media))
    if not row["events"] and not item.description:
        detail = f"every event starts after the video's end ({chosen.duration_s:.3f} s)"
        return Rejected(item.id, media.name, "no target left", detail)
    return {**row, "seconds": time.monotonic() - started}


def _row(item: Sample, chosen: ChosenFrames, keys: FrameKeys, video_id: str) -> dict[str, Any]:
    """See `data.prepared.shards.FEATURES`."""
    end_s = chosen.duration_s
    # an event that starts just after the end is about the last frame: labels round times differently
    events = [asdict(e) for e in item.events if e.start_s <= end_s + INSTANT_S]
    # labels round durations by up to a second: no more than that is not counted as a repair
    cut = sum(event["end_s"] > end_s + 1 for event in events)
    for event in events:
        event["start_s"] = min(event["start_s"], end_s)
        event["end_s"] = min(event["end_s"], end_s)
    repairs = Counter({r.what: r.count for r in (*item.repairs, *chosen.repairs)})
    # the source may have cut the same event already, at a duration that was too long: count it once
    repairs["cut at the video's end"] = max(cut, repairs["cut at the video's end"])
    repairs["starts after the video's end"] += len(item.events) - len(events)
    return {
        "id": item.id,
        "source": item.source,
        "video_id": video_id,
        "frames": [{"bytes": jpeg, "path": None} for jpeg in chosen.jpegs],
        "times_s": list(chosen.times_s),
        "duration_s": chosen.duration_s,
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
        "credit": item.credit,
        "metadata": item.metadata,
        "repairs": [asdict(Repair(what, n)) for what, n in sorted(repairs.items()) if n],
        "policy": json.dumps(redacted(policy_record(keys)), sort_keys=True),
    }


def choose_in_subprocess(
    path: str, keys: FrameKeys, min_decoded: float, *, timeout_s: float, memory_gib: float
) -> ChosenFrames:
    """`choose_frames` in a process of its own, for an untrusted file.

    Raises:
        BadVideo: with the quarantine reason, also if the process crashes, hangs or runs out of memory.
    """
    (done,) = run_each(
        partial(_choose_or_error, keys, min_decoded),
        [path],
        workers=1,
        timeout_s=timeout_s,
        memory_gib=memory_gib,
    )
    if isinstance(done.outcome, Failure):
        raise BadVideo(done.outcome.reason, done.outcome.detail)
    if isinstance(done.outcome, BadVideo):
        raise done.outcome
    return done.outcome


def _choose_or_error(keys: FrameKeys, min_decoded: float, path: str) -> ChosenFrames | BadVideo:
    """`choose_frames`, with BadVideo returned instead of raised: the worker would report it as a crash."""
    try:
        return choose_frames(path, keys, min_decoded)
    except BadVideo as error:
        return error
