"""One video → its chosen frames: one decode pass, the policy's choice, JPEGs with their timestamps.

The offline run and the description of a new video both use `choose_frames`, so both see the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from data.config import resolved
from data.media import FrameFiles
from data.sample import Selection
from data.selection.chosen_frames import ChosenFrames, jpeg_of
from data.selection.config import FrameKeys
from data.selection.grids import Grid, grids_between, side_by_side
from data.selection.known_policies import POLICIES, POLICY_VERSION
from data.selection.measure.dull import black_share, still_share
from data.selection.measure.meter import measure_signals
from data.selection.measure.refine import refine_key_frames
from data.selection.measure.signals import Signals
from data.selection.policies.dispatch import plan_for, select
from data.selection.policies.ranking import in_order
from data.selection.tiles import QUARTERS, quarters, sharpest
from data.video import image_frames
from data.video.info import BadVideo, Skip, StoredPicture, VideoInfo
from data.video.video import Video

SAME_PICTURE_S = 1e-3  # timestamps of decord and PyAV for one frame differ by less
MIN_DECODED = 0.9
"""Share of a file's frames that must be decodable; below it the file is quarantined."""


Choose = Callable[[Signals, FrameKeys], Selection]
"""A policy."""


SKIP: dict[str, Skip] = {"exact": "none", "fast": "nonref", "keyframes": "nonkey"}


@dataclass(frozen=True)
class Analysis:
    """The result of one decode pass over a video, before any picture is encoded."""

    source: Video | FrameFiles
    info: VideoInfo
    signals: Signals
    selection: Selection
    kept: dict[float, StoredPicture]
    """Time → picture; a chosen picture that is missing here must be fetched."""
    grids: tuple[Grid, ...] = ()
    """Small frames between the chosen ones."""


def skipped(keys: FrameKeys, info: VideoInfo) -> Skip:
    """Which frames the decoder skips."""
    if info.by_order:  # timestamps go by frame number: a skipped frame would shift all later ones
        return "none"
    return "nonkey" if POLICIES[keys.policy].candidates == "key frames" else SKIP[keys.speed]


def refines(keys: FrameKeys, info: VideoInfo) -> bool:
    """Whether each chosen key frame is replaced by a clearer one shortly after it."""
    only_key = POLICIES[keys.policy].candidates == "key frames"
    return keys.speed == "keyframes" and not only_key and info.seekable


def analyse(
    path: str | Video | FrameFiles,
    keys: FrameKeys,
    min_decoded: float = MIN_DECODED,
    *,
    threads: int = 0,
    keep: bool = True,
    choose: Choose = select,
) -> Analysis:
    """Measure a video in one decode pass and let the policy, or `choose`, choose. `keep=False`: no pictures are kept.

    Raises:
        BadVideo: with the quarantine reason.
    """
    if isinstance(path, FrameFiles):
        return _analyse_given(path, keys, min_decoded, choose)
    video, few = Video(path) if isinstance(path, str) else path, keys.of_whole_frames()
    info = video.info
    plan = plan_for(few, info, keep=keep and keys.decoder == "pyav")
    skip = skipped(keys, info)
    frames = video.decode(threads=threads, skip=skip, vectors=keys.method == "vectors")
    signals = measure_signals(info, frames, plan, skip=skip)
    require_decoded(signals.decoded_share, min_decoded, info.path, skip)
    selection, kept = choose(signals, few), plan.candidates.kept
    grids = grids_between(signals, selection, keys)
    if refines(keys, info):
        selection, kept = refine_key_frames(video, selection, short_px=keys.px, threads=threads)
    if keys.decoder != "pyav":  # the pictures are fetched with the other decoder
        kept = {}
    return Analysis(video, info, signals, selection, kept, grids)


def require_decoded(
    share: float, min_decoded: float, name: str, skip: Skip, what: str = "frames"
) -> None:
    """
    Raises:
        BadVideo: less than `min_decoded` of the frames were decoded.
    """
    if share < min_decoded:
        what = "key frames" if skip == "nonkey" else what
        raise BadVideo(
            "truncated",
            f"{name}: {share:.0%} of its {what} can be decoded (min_decoded={min_decoded:g})",
        )


def _analyse_given(
    frames: FrameFiles, keys: FrameKeys, min_decoded: float, choose: Choose
) -> Analysis:
    """`analyse` for given frame files: all are kept if they fit the budget, else the policy chooses."""
    info, few = image_frames.probe(frames), keys.of_whole_frames()
    plan = plan_for(few, info, keep=False)
    signals = measure_signals(info, image_frames.read(frames, info), plan, skip="none")
    require_decoded(signals.decoded_share, min_decoded, frames.name, "none", "frame files")
    all_fit = len(signals.times_s) <= few.max and choose is select
    selection = (
        in_order(signals, range(len(signals.times_s)), "given") if all_fit else choose(signals, few)
    )
    grids = () if all_fit else grids_between(signals, selection, keys)
    return Analysis(frames, info, signals, selection, {}, grids)


def chosen_pictures(analysis: Analysis, keys: FrameKeys, *, threads: int = 0) -> list[np.ndarray]:
    """The chosen frames, (H, W, 3) uint8 each: those kept in the decode pass, the others by a seek.

    Raises:
        BadVideo: a frame that was decoded before cannot be decoded again.
    """
    return _pictures_at(analysis.selection.times_s, analysis, keys, threads)


def _pictures_at(
    times_s: Sequence[float], analysis: Analysis, keys: FrameKeys, threads: int
) -> list[np.ndarray]:
    kept = analysis.kept
    missing = [t for t in times_s if t not in kept]
    found = _fetch(analysis.source, missing, keys, keys.px, threads) if missing else []
    fetched = dict(zip(missing, found, strict=True))
    return [kept[t].rgb() if t in kept else fetched[t] for t in times_s]


def _fetch(
    source: Video | FrameFiles,
    times_s: Sequence[float],
    keys: FrameKeys,
    short_px: int,
    threads: int,
) -> list[np.ndarray]:
    """The frames at these times, which the decode pass has seen, (H, W, 3) uint8 each.

    Raises:
        BadVideo: as `chosen_pictures`.
    """
    if isinstance(source, FrameFiles):
        return image_frames.frames_played_at(source, times_s, short_px)
    found = source.frames_played_at(
        times_s, short_px=short_px, decoder=keys.decoder, threads=threads
    )
    got = [frame.time_s for frame in found]
    if np.abs(np.subtract(got, times_s)).max() > SAME_PICTURE_S:
        raise BadVideo("truncated", f"{source.info.path}: wanted frames at {times_s} s, got {got}")
    return [frame.rgb for frame in found]


def choose_frames(
    path: str | Video | FrameFiles,
    keys: FrameKeys,
    min_decoded: float = MIN_DECODED,
    *,
    threads: int = 0,
) -> ChosenFrames:
    """Measure a video in one decode pass, let the policy choose, and encode the chosen frames as JPEG. The
    budget is for the whole video, however long (`data.selection.windows.choose_windows`: for each window).

    Raises:
        BadVideo: with the quarantine reason.
    """
    return encoded(analyse(path, keys, min_decoded, threads=threads), keys, threads=threads)


def encoded(analysis: Analysis, keys: FrameKeys, *, threads: int = 0) -> ChosenFrames:
    """The chosen frames, encoded as JPEG, each of the `keys.tiles` sharpest followed by its quarters, and the grids of
    small ones.

    Raises:
        BadVideo: as `chosen_pictures`.
    """
    selection, times_s = analysis.selection, analysis.signals.times_s
    pictures = chosen_pictures(analysis, keys, threads=threads)
    tiled = sharpest(pictures, keys.tiles)
    at_s = [selection.times_s[i] for i in tiled]
    large = _fetch(analysis.source, at_s, keys, 2 * keys.px, threads) if tiled else []
    # where a prompt must become shorter the quarters go first, then the grids
    whole = len(pictures)
    shown = []
    chosen = zip(pictures, selection.times_s, selection.reasons, selection.ranks, strict=True)
    for i, frame in enumerate(chosen):
        shown.append(frame)
        if i in tiled:
            parts = zip(quarters(large[tiled.index(i)]), QUARTERS, strict=True)
            rank = whole + len(analysis.grids) + len(QUARTERS) * tiled.index(i)
            shown += [(part, frame[1], name, rank + n) for n, (part, name) in enumerate(parts)]
    size = pictures[0].shape[:2]
    for grid in analysis.grids:
        cells = _pictures_at(grid.times_s, analysis, keys, threads)
        joined = side_by_side(cells, keys.fast_grid, size)
        shown.append((joined, grid.times_s[0], grid.reason, whole + grid.rank))
    shown.sort(key=itemgetter(1))  # quarters have the time of their frame, and stay behind it
    pictures, frames_s, reasons, ranks = zip(*shown, strict=True)
    return ChosenFrames(
        jpegs=tuple(jpeg_of(picture) for picture in pictures),
        times_s=frames_s,
        reasons=reasons,
        ranks=ranks,
        duration_s=selection.duration_s,
        decoded_share=analysis.signals.decoded_share,
        unseen_s=float(np.diff(times_s).max(initial=0.0)),
        repairs=analysis.info.repairs,
        black_share=black_share(analysis.signals),
        still_share=still_share(analysis.signals),
    )


def policy_record(keys: FrameKeys) -> dict[str, Any]:
    """The frame policy as it is stored with the dataset, the run and the adapter."""
    return {**resolved(keys), "version": POLICY_VERSION}


def recorded_keys(record: Mapping[str, Any]) -> FrameKeys:
    """The keys of a `policy_record`, whatever its version."""
    keys = {k: v for k, v in record.items() if k != "version"}
    # before there were windows, frames were chosen from whole videos
    return FrameKeys.model_validate({"window_s": None, **keys})
