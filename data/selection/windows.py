"""A long video's windows: parts of at most `frames.window_s`, cut where shots end, in one decode pass.

Every window gets the whole budget `frames.max`. Memory holds one window's measurements and pictures at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from data.media import FrameFiles
from data.selection.choose import (
    MIN_DECODED,
    Analysis,
    Choose,
    analyse,
    encoded,
    refines,
    require_decoded,
    skipped,
)
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.grids import grids_between
from data.selection.measure.meter import Meter
from data.selection.measure.refine import refine_key_frames
from data.selection.measure.signals import Signals
from data.selection.policies.boundaries import find_boundaries
from data.selection.policies.dispatch import plan_for, select
from data.video.video import Video

ROUNDING_S = 0.5
"""A video that is longer than a window by this little, as by its last frame, is one window."""
AHEAD_S = 2.5
"""So much is measured after a window's limit before it is cut: what tells a dissolve from a movement."""
LEAST, LEAST_LAST = 0.5, 0.25
"""Shortest window, and shortest last one, as shares of `frames.window_s`."""
LATE = 0.75
"""In one take the window is cut at its stillest place after this share of `frames.window_s`."""
STILL_S = 1.0
"""How long a place must be still."""


def choose_windows(
    path: str | FrameFiles,
    keys: FrameKeys,
    min_decoded: float = MIN_DECODED,
    *,
    threads: int = 0,
    choose: Choose = select,
) -> Iterator[ChosenFrames]:
    """The frames of each window of a video, in order; windows tile the video. One window without `part_s` for
    a video that is no longer than `frames.window_s`, and for given frame files.

    `decoded_share` is that of the whole file in the last window; until then it counts what is not yet decoded
    as missing.

    Args:
        choose: chooses from the measurements of each window, in place of the policy.

    Raises:
        BadVideo: with the quarantine reason; a truncated file is found out only after its last window.
    """
    video = Video(path) if isinstance(path, str) else path
    if (
        isinstance(video, FrameFiles)
        or keys.window_s is None
        or video.info.shown_s <= keys.window_s + ROUNDING_S
    ):
        analysis = analyse(video, keys, min_decoded, threads=threads, choose=choose)
        yield encoded(analysis, keys, threads=threads)
        return
    info, limit_s, few = video.info, keys.window_s, keys.of_whole_frames()
    plan = plan_for(few, info, keep=keys.decoder == "pyav", part_s=limit_s)
    skip = skipped(keys, info)
    room = int(len(info.times_s) * (limit_s + AHEAD_S) / info.shown_s) + 16
    meter = Meter(info, plan, skip=skip, room=room)
    start_s = 0.0

    def window(count: int, end_s: float) -> ChosenFrames:
        """The choice from the first `count` frames that the meter holds, which show the time until `end_s`."""
        signals = meter.signals(count, (start_s, end_s))
        chosen = choose(signals, few)
        grids = grids_between(signals, chosen, keys)
        own_s, video_s = signals.times_s, meter.times_s[:count]  # of the window, of the video
        chosen = replace(chosen, times_s=_at(chosen.times_s, own_s, video_s))
        grids = tuple(replace(one, times_s=_at(one.times_s, own_s, video_s)) for one in grids)
        kept = plan.candidates.kept if keys.decoder == "pyav" else {}
        if refines(keys, info):
            chosen, kept = refine_key_frames(
                video, chosen, short_px=keys.px, threads=threads, end_s=end_s
            )
        analysis = Analysis(video, info, signals, chosen, kept, grids)
        found = encoded(analysis, keys, threads=threads)
        # repairs of the file are counted once
        return replace(
            found,
            duration_s=max(info.duration_s, end_s),
            part_s=(start_s, end_s),
            repairs=found.repairs if start_s == 0 else (),
        )

    def take(video_end_s: float) -> ChosenFrames:
        """Cut off the next window."""
        nonlocal start_s
        count, end_s = cut(meter.signals(), start_s, limit_s, video_end_s, keys)
        taken = window(count, end_s)
        meter.drop(count)
        start_s = end_s
        return taken

    for frame in video.decode(threads=threads, skip=skip, vectors=keys.method == "vectors"):
        meter.add(frame)
        if meter.last_s > start_s + limit_s + AHEAD_S:
            yield take(info.shown_s)
    meter.close()
    while meter.count > 1 and meter.last_s > start_s + limit_s + ROUNDING_S:
        yield take(meter.last_s)
    last = window(meter.count, max(info.duration_s, meter.last_s))
    require_decoded(last.decoded_share, min_decoded, info.path, skip)
    yield last if start_s else replace(last, part_s=None)


def _at(chosen_s: Sequence[float], times_s: np.ndarray, at_s: np.ndarray) -> tuple[float, ...]:
    """Each of the chosen times, one of `times_s`, replaced by the same frame's in `at_s`."""
    frames = np.abs(times_s[:, None] - np.asarray(chosen_s)).argmin(axis=0)
    return tuple(float(t) for t in at_s[frames])


def cut(
    held: Signals, start_s: float, limit_s: float, end_s: float, keys: FrameKeys
) -> tuple[int, float]:
    """Where a window that starts at `start_s` ends: the number of its frames, at least one and not all of
    `held`, and the time.

    It is the latest shot change that leaves the window no longer than `limit_s` and no shorter than half of
    it, and leaves a quarter of it for the last window (`end_s` is the video's end). Without one it is the
    stillest place of the last quarter; without a frame there, the limit. A window of which the first frame
    comes later, because nothing was recorded, lasts until its second frame.
    """
    times_s = held.times_s
    latest_s = start_s + limit_s
    if end_s - LEAST_LAST * limit_s > start_s + LEAST * limit_s:
        latest_s = min(latest_s, end_s - LEAST_LAST * limit_s)
    stop = int(np.searchsorted(times_s, latest_s + 1e-9, side="right"))
    first = int(np.searchsorted(times_s, start_s + LEAST * limit_s))
    if stop <= max(first, 1):  # no frame in that time
        return max(1, stop), latest_s if stop else float(times_s[1])
    first = max(1, first)
    changes = [(c.last + c.first + 1) // 2 for c in find_boundaries(held, keys)]
    good = [i for i in changes if first <= i < stop]
    if good:
        return good[-1], float(times_s[good[-1]])
    late = int(np.searchsorted(times_s, start_s + LATE * limit_s))
    first = late if late < stop else first
    if (
        held.sparse
    ):  # only key frames: what lies between was not seen, a likely cut is a large change
        change = first + int(held.change[first:stop].argmax())
        return change, float(times_s[change])
    usual_s = float(np.median(np.diff(times_s)))
    near = max(1, round(STILL_S / max(usual_s, 1e-3)))
    moved = np.convolve(held.change, np.ones(near) / near, mode="same")[first:stop]
    still = stop - 1 - int(moved[::-1].argmin())  # the latest of equals
    return still, float(times_s[still])


def of_all(windows: Sequence[ChosenFrames]) -> ChosenFrames:
    """The frames of all windows of a video as those of one selection, each window's best first."""
    if len(windows) == 1:
        return windows[0]
    order = sorted((r, w, i) for w, one in enumerate(windows) for i, r in enumerate(one.ranks))
    rank = {(w, i): n for n, (_, w, i) in enumerate(order)}
    last = windows[-1]
    return ChosenFrames(
        jpegs=tuple(jpeg for one in windows for jpeg in one.jpegs),
        times_s=tuple(t for one in windows for t in one.times_s),
        reasons=tuple(why for one in windows for why in one.reasons),
        ranks=tuple(rank[w, i] for w, one in enumerate(windows) for i in range(len(one))),
        duration_s=last.duration_s,
        decoded_share=last.decoded_share,
        unseen_s=max(one.unseen_s for one in windows),
        repairs=windows[0].repairs,
    )
