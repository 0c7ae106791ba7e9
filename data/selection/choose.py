"""One video → its chosen frames: one decode pass, the policy's choice, JPEGs with their timestamps.

The offline run and the description of a new video both use `choose_frames`, so both see the same pictures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from data.config import ROOT, resolved
from data.media import FrameFiles
from data.sample import Repair, Selection
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, POLICY_VERSION
from data.selection.measure.dull import black_share, still_share
from data.selection.measure.meter import measure_signals
from data.selection.measure.refine import refine_key_frames
from data.selection.measure.signals import Signals
from data.selection.policies.dispatch import plan_for, select
from data.selection.policies.ranking import in_order
from data.selection.tiles import QUARTERS, quarters, sharpest
from data.target import clock
from data.video import image_frames
from data.video.info import BadVideo, Skip, StoredPicture, VideoInfo
from data.video.video import Video

JPEG_QUALITY = 92
SAME_PICTURE_S = 1e-3  # timestamps of decord and PyAV for one frame differ by less
MIN_DECODED = 0.9
"""Share of a file's frames that must be decodable; below it the file is quarantined."""


Choose = Callable[[Signals, FrameKeys], Selection]
"""A policy."""


@dataclass(frozen=True)
class ChosenFrames:
    """The frames of one video as a policy chose them, encoded for storing."""

    jpegs: tuple[bytes, ...]
    times_s: tuple[float, ...]
    reasons: tuple[str, ...]
    ranks: tuple[int, ...]
    duration_s: float
    decoded_share: float
    unseen_s: float
    """Longest gap between two decoded frames: how far off a shot boundary can be."""
    repairs: tuple[Repair, ...] = ()
    """What was repaired in the file's timestamps and pictures."""
    black_share: float | None = None
    """Of the frames of the video, or of the window (`data.selection.measure.dull`)."""
    still_share: float | None = None
    part_s: tuple[float, float] | None = None
    """Start and end of the window of the video that they show; None: all of it."""

    def __len__(self) -> int:
        return len(self.jpegs)

    def __repr__(self) -> str:
        times = ", ".join(f"{t:.1f}" for t in self.times_s[:8]) + ", …" * (len(self) > 8)
        return f"ChosenFrames({len(self)} frames of {self.duration_s:.1f} s: {times} s)"

    def images(self) -> list[Image.Image]:
        """The frames as RGB pictures."""
        return [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in self.jpegs]

    def html(self, title: str, text: str = "", events: Sequence[Mapping[str, Any]] = ()) -> str:
        """A piece of HTML: what is said of the frames, a timeline of it, and the frames with their times."""
        from data.pages.render import data_url, render  # jinja2: only where somebody looks

        frames = [
            {
                "picture": data_url(jpeg),
                "time": f"{time_s:.1f} s",
                "time_s": time_s,
                "reason": reason,
            }
            for jpeg, time_s, reason in zip(self.jpegs, self.times_s, self.reasons, strict=True)
        ]
        return render(
            ROOT / "data/pages/frames.html",
            title=title,
            text=text,
            events=events,
            frames=frames,
            duration_s=self.duration_s,
            clock=clock,
        )

    def _repr_html_(self) -> str:
        return self.html(repr(self))


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
    keys = keys.without_tiles()
    if isinstance(path, FrameFiles):
        return _analyse_given(path, keys, min_decoded, choose)
    video = Video(path) if isinstance(path, str) else path
    info = video.info
    plan = plan_for(keys, info, keep=keep and keys.decoder == "pyav")
    skip = skipped(keys, info)
    frames = video.decode(threads=threads, skip=skip, vectors=keys.method == "vectors")
    signals = measure_signals(info, frames, plan, skip=skip)
    require_decoded(signals.decoded_share, min_decoded, info.path, skip)
    selection, kept = choose(signals, keys), plan.candidates.kept
    if refines(keys, info):
        selection, kept = refine_key_frames(video, selection, short_px=keys.px, threads=threads)
    if keys.decoder != "pyav":  # the pictures are fetched with the other decoder
        kept = {}
    return Analysis(video, info, signals, selection, kept)


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
    info = image_frames.probe(frames)
    plan = plan_for(keys, info, keep=False)
    signals = measure_signals(info, image_frames.read(frames, info), plan, skip="none")
    require_decoded(signals.decoded_share, min_decoded, frames.name, "none", "frame files")
    all_fit = len(signals.times_s) <= keys.max and choose is select
    selection = (
        in_order(signals, range(len(signals.times_s)), "given")
        if all_fit
        else choose(signals, keys)
    )
    return Analysis(frames, info, signals, selection, {})


def chosen_pictures(analysis: Analysis, keys: FrameKeys, *, threads: int = 0) -> list[np.ndarray]:
    """The chosen frames, (H, W, 3) uint8 each: those kept in the decode pass, the others by a seek.

    Raises:
        BadVideo: a frame that was decoded before cannot be decoded again.
    """
    times_s, kept = analysis.selection.times_s, analysis.kept
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
    """The chosen frames, encoded as JPEG, each of the `keys.tiles` sharpest followed by its quarters.

    Raises:
        BadVideo: as `chosen_pictures`.
    """
    selection, times_s = analysis.selection, analysis.signals.times_s
    pictures = chosen_pictures(analysis, keys, threads=threads)
    tiled = sharpest(pictures, keys.tiles)
    at_s = [selection.times_s[i] for i in tiled]
    large = _fetch(analysis.source, at_s, keys, 2 * keys.px, threads) if tiled else []
    shown = []
    chosen = zip(pictures, selection.times_s, selection.reasons, selection.ranks, strict=True)
    for i, frame in enumerate(chosen):
        shown.append(frame)
        if i in tiled:
            parts = zip(quarters(large[tiled.index(i)]), QUARTERS, strict=True)
            # they go first where a prompt must become shorter
            rank = len(pictures) + len(QUARTERS) * tiled.index(i)
            shown += [(part, frame[1], name, rank + n) for n, (part, name) in enumerate(parts)]
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


def jpeg_of(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def policy_record(keys: FrameKeys) -> dict[str, Any]:
    """The frame policy as it is stored with the dataset, the run and the adapter."""
    return {**resolved(keys), "version": POLICY_VERSION}


def recorded_keys(record: Mapping[str, Any]) -> FrameKeys:
    """The keys of a `policy_record`, whatever its version."""
    keys = {k: v for k, v in record.items() if k != "version"}
    # before there were windows, frames were chosen from whole videos
    return FrameKeys.model_validate({"window_s": None, **keys})
