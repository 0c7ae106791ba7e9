"""One video → its chosen frames → one row of the prepared dataset. Runs in the workers.

`choose_frames` also serves the description of a new video, so that both see the same pictures.
"""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from data.config import resolved
from data.media import FrameFiles, Local, Video, content_id
from data.offline.isolate import Failure, digest_of, run_each
from data.redact import redacted
from data.sample import Numbered, Outcome, Rejected, Repair, Sample, Selection
from data.selection.config import FrameKeys
from data.selection.measure.plan import looks_for
from data.selection.measure.refine import refined
from data.selection.measure.signals import Signals, measure
from data.selection.policies.ranking import in_order
from data.selection.policies.registry import POLICY_VERSION, select
from data.video import image_frames
from data.video.decode import fetch, read
from data.video.info import BadVideo, Kept, Skip, VideoInfo
from data.video.probe import probe

JPEG_QUALITY = 92
INSTANT_S = 0.05


@dataclass(frozen=True)
class Chosen:
    """The frames of one video as a policy chose them, encoded for storing."""

    jpegs: tuple[bytes, ...]
    times_s: tuple[float, ...]
    reasons: tuple[str, ...]
    ranks: tuple[int, ...]
    duration_s: float
    decoded_share: float
    unseen_s: float
    """The longest time between two frames that were decoded: how far off a boundary can be."""
    mended: tuple[Repair, ...] = ()
    """What was put right in the file's times and pictures."""


SKIP: dict[str, Skip] = {"exact": "none", "fast": "nonref", "keyframes": "nonkey"}


@dataclass(frozen=True)
class Looked:
    """What one pass over a video found, before any picture is encoded."""

    info: VideoInfo
    signals: Signals
    selection: Selection
    kept: dict[float, Kept]
    """Pictures by time; a chosen one that is not here must be fetched."""
    given: FrameFiles | None = None
    """Where the frames were pictures already."""


def look(
    path: str | FrameFiles,
    keys: FrameKeys,
    min_decoded: float = 0.9,
    *,
    threads: int = 0,
    keep: bool = True,
) -> Looked:
    """One decode pass and the policy's choice. `keep=False`: no pictures are kept.

    Raises:
        BadVideo: with the quarantine reason.
    """
    if isinstance(path, FrameFiles):
        return _look_at_given(path, keys, min_decoded)
    info = probe(path)
    looks = looks_for(keys, info, keep=keep and keys.decoder == "pyav")
    skip = "nonkey" if keys.policy == "keyframes" else SKIP[keys.speed]
    if info.by_order:  # what is left out would move all that follows
        skip = "none"
    frames = read(info, threads=threads, skip=skip, vectors=keys.method == "vectors")
    signals = measure(info, frames, looks, skip=skip)
    _require(signals, min_decoded, path, "key frames" if skip == "nonkey" else "frames")
    selection, kept = select(signals, keys), looks.candidates.kept
    if keys.speed == "keyframes" and keys.policy != "keyframes" and info.seekable:
        selection, kept = refined(info, selection, short_px=keys.px, threads=threads)
    if keys.decoder != "pyav":  # the choice is the same; the pictures are to be that decoder's
        kept = {}
    return Looked(info, signals, selection, kept)


def _require(signals: Signals, min_decoded: float, name: str, what: str) -> None:
    if signals.decoded_share < min_decoded:
        raise BadVideo(
            "truncated",
            f"{name}: {signals.decoded_share:.0%} of its {what} can be decoded "
            f"(min_decoded={min_decoded:g})",
        )


def _look_at_given(frames: FrameFiles, keys: FrameKeys, min_decoded: float) -> Looked:
    """Pictures that somebody chose already are all kept where they fit the budget."""
    info = image_frames.probe(frames)
    looks = looks_for(keys, info, keep=False)
    signals = measure(info, image_frames.read(frames, info), looks, skip="none")
    _require(signals, min_decoded, frames.name, "frame files")
    fits = len(signals.times_s) <= keys.max
    selection = (
        in_order(signals, range(len(signals.times_s)), "given") if fits else select(signals, keys)
    )
    return Looked(info, signals, selection, {}, given=frames)


def pictures(looked: Looked, keys: FrameKeys, *, threads: int = 0) -> list[np.ndarray]:
    """The chosen frames, (H, W, 3) uint8 each: kept from the pass, else fetched."""
    times_s, kept = looked.selection.times_s, looked.kept
    if looked.given is not None:
        return image_frames.fetch(looked.given, times_s, keys.px)
    missing = [t for t in times_s if t not in kept]
    fetched = {}
    if missing:
        found = fetch(looked.info, missing, short_px=keys.px, decoder=keys.decoder, threads=threads)
        fetched = {time_s: frame.rgb for time_s, frame in zip(missing, found, strict=True)}
    return [kept[t].rgb() if t in kept else fetched[t] for t in times_s]


def choose_frames(
    path: str | FrameFiles, keys: FrameKeys, min_decoded: float = 0.9, *, threads: int = 0
) -> Chosen:
    """Measure a video in one decode, select, and give the selected frames as JPEG.

    The same function serves the offline run and the description of a new video, so that both see
    the same pictures.

    Raises:
        BadVideo: with the quarantine reason.
    """
    looked = look(path, keys, min_decoded, threads=threads)
    selection = looked.selection
    return Chosen(
        jpegs=tuple(_jpeg(picture) for picture in pictures(looked, keys, threads=threads)),
        times_s=selection.times_s,
        reasons=selection.reasons,
        ranks=selection.ranks,
        duration_s=selection.duration_s,
        decoded_share=looked.signals.decoded_share,
        unseen_s=float(np.diff(looked.signals.times_s).max(initial=0.0)),
        mended=looked.info.mended,
    )


def _jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def policy_record(keys: FrameKeys) -> dict[str, Any]:
    """The frame policy as it travels with the dataset, the run and the adapter."""
    return {**resolved(keys), "version": POLICY_VERSION}


@dataclass(frozen=True)
class Limits:
    """What a video must be to be used."""

    min_decoded: float
    min_s: float


def prepare_row(numbered: Numbered, keys: FrameKeys, limits: Limits, threads: int) -> Outcome:
    """One sample → one row of the prepared dataset, or the reason why not. Runs in a worker. The row
    also says, in `seconds`, how long choosing took; that is not stored, for no two runs agree on it."""
    started = time.monotonic()
    item = numbered.item
    if not isinstance(item, Sample):
        return item
    media = item.video
    assert isinstance(media, Local)
    try:
        where = media.path if isinstance(media, Video) else media
        chosen = choose_frames(where, keys, limits.min_decoded, threads=threads)
        if chosen.duration_s < limits.min_s:
            raise BadVideo("too short", f"{media.name}: {chosen.duration_s:.3f} s")
    except BadVideo as error:
        detail = error.detail
        if isinstance(media, Video) and media.shown:  # not the name of a copy that is gone by then
            detail = detail.replace(media.path, media.shown)
        return Rejected(item.id, media.name, error.reason, detail, digest_of(error))
    row = _row(item, chosen, keys, item.video_id or content_id(media))
    if not row["events"] and not item.description:
        detail = f"every event starts after the video's end ({chosen.duration_s:.3f} s)"
        return Rejected(item.id, media.name, "no target left", detail)
    return {**row, "seconds": time.monotonic() - started}


def _row(item: Sample, chosen: Chosen, keys: FrameKeys, video_id: str) -> dict[str, Any]:
    """See `data.prepared.shards.FEATURES`."""
    end_s = chosen.duration_s
    # what is said of the last instant is about the last frame; labels and frames round it apart
    events = [asdict(e) for e in item.events if e.start_s <= end_s + INSTANT_S]
    # up to a second is how durations are rounded in labels, no mistake of theirs
    cut = sum(event["end_s"] > end_s + 1 for event in events)
    for event in events:
        event["start_s"] = min(event["start_s"], end_s)
        event["end_s"] = min(event["end_s"], end_s)
    repairs = Counter({r.what: r.count for r in (*item.repairs, *chosen.mended)})
    # one that the source cut already, at a duration that was too long, is one repair all the same
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


def choose_apart(path: str, keys: FrameKeys, *, timeout_s: float, memory_gib: float) -> Chosen:
    """`choose_frames` in a process of its own, for a file that nobody knows.

    Raises:
        BadVideo: with the quarantine reason; whatever the file does to that process is one.
    """
    (done,) = run_each(
        partial(_choose_or_say, keys), [path], workers=1, timeout_s=timeout_s, memory_gib=memory_gib
    )
    if isinstance(done.outcome, Failure):
        raise BadVideo(done.outcome.reason, done.outcome.detail)
    if isinstance(done.outcome, BadVideo):
        raise done.outcome
    return done.outcome


def _choose_or_say(keys: FrameKeys, path: str) -> Chosen | BadVideo:
    try:
        return choose_frames(path, keys)
    except BadVideo as error:
        return error
