"""What a preview shows of one video: its signals, and the frames that each policy chose."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.sample import Event, Sample, Selection
from data.selection import quality
from data.selection.choose import analyse, encoded
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.measure.shots import Transition, in_seconds
from data.selection.measure.signals import Signals
from data.selection.policies.boundaries import find_boundaries
from data.sources import jsonl
from data.sources.config import SourceKeys
from data.video.info import VideoInfo

PICTURE_PX = 180


@dataclass(frozen=True)
class PolicyChoice:
    """One policy's frames with their figures."""

    name: str
    selection: Selection
    stored: ChosenFrames
    """What a row would hold: with quarters, and with small frames."""
    figures: dict[str, float]


@dataclass(frozen=True)
class Preview:
    """All data of one video that a preview draws."""

    info: VideoInfo
    signals: Signals
    transitions: tuple[Transition, ...]
    events: tuple[Event, ...]
    description: str
    chosen: tuple[PolicyChoice, ...]


def collect(path: str, policies: Sequence[FrameKeys], sample: Sample | None) -> Preview:
    """Choose the frames of one video by every policy, with figures that compare the policies.

    Raises:
        BadVideo: it cannot be used.
    """
    first = policies[0]
    shots = FrameKeys(
        max=first.max,
        boundaries=first.boundaries,
        selector=first.selector,
        min_shot_s=first.min_shot_s,
    )
    whole = analyse(path, shots, keep=False)
    found = in_seconds(find_boundaries(whole.signals, shots), whole.signals.times_s)
    events = sample.events if sample is not None else ()
    spans = [(e.start_s, e.end_s) for e in events]
    features = whole.signals.small.reshape(len(whole.signals.small), -1)
    chosen = []
    for given in policies:
        keys = given.model_copy(update={"px": min(given.px, PICTURE_PX)})
        started = time.perf_counter()
        analysis = analyse(path, keys)
        seconds = time.perf_counter() - started
        times_s = analysis.selection.times_s
        frames = [int(np.abs(whole.signals.times_s - t).argmin()) for t in times_s]
        mean_distance, _ = quality.nearest_distance(features, frames)
        figures = {
            "frames": float(len(times_s)),
            "distance": mean_distance,
            "redundancy": quality.redundancy(features, frames),
            "in transition": quality.share_in_transitions(times_s, found),
            "seconds": seconds,
        }
        if spans:
            figures["events shown"] = quality.events_hit(times_s, spans) / len(spans)
        stored = encoded(analysis, keys)
        chosen.append(PolicyChoice(given.policy, analysis.selection, stored, figures))
    return Preview(
        info=whole.info,
        signals=whole.signals,
        transitions=tuple(found),
        events=tuple(events),
        description=sample.description if sample is not None else "",
        chosen=tuple(chosen),
    )


def labelled(path: str | None) -> dict[Path, Sample]:
    """The samples of a jsonl source by their video's absolute path.

    Raises:
        UserError: there is no such file, or it is not a jsonl source.
    """
    if path is None:
        return {}
    items = jsonl.read(SourceKeys(name="jsonl", path=path))
    return {Path(i.video.name).resolve(): i for i in items if isinstance(i, Sample)}
