"""Are copies found? Videos of the micro-world, and of some of them a copy as people make them.

The micro-world is a hard place for that: there are only a few hundred different scenes, so that many videos share one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from data.curation.command import curate
from data.curation.config import CurateConfig
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.selection.config import FrameKeys
from data.sources import microworld
from data.sources.config import SourceKeys

TICKS = 12_800
"""Units of time of a written file, per second."""


@dataclass(frozen=True)
class Change:
    """What is done to a copy."""

    crf: int = 28
    crop: float = 0.0
    """Share of width and height that is cut off, half of it on each side."""
    mirrored: bool = False
    part: tuple[float, float] = (0.0, 1.0)
    """The part that is left, as shares of the length."""
    speed: float = 1.0
    scale: float = 1.0


CHANGES: Mapping[str, Change] = {
    "quality 23": Change(crf=23),
    "quality 32": Change(crf=32),
    "quality 40": Change(crf=40),
    "cropped": Change(crop=0.05),
    "mirrored": Change(mirrored=True),
    "cropped, mirrored": Change(crop=0.05, mirrored=True),
    "without its start": Change(part=(0.2, 1.0)),
    "without its end": Change(part=(0.0, 0.75)),
    "faster": Change(speed=1.25),
    "slower": Change(speed=0.8),
    "half the size": Change(scale=0.5),
}


def write_copy(source: Path, copy: Path, change: Change) -> None:
    """Encode a video again, changed."""
    with av.open(str(source)) as read, av.open(str(copy), "w") as written:
        video = read.streams.video[0]
        length_s = float((read.duration or 0) / av.time_base)
        width, height = (int(n * change.scale) // 2 * 2 for n in (video.width, video.height))
        stream = written.add_stream(
            "libx264", rate=30, options={"crf": str(change.crf), "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        first_s: float | None = None
        for frame in read.decode(video):
            time_s = float(frame.time or 0.0)
            if not change.part[0] * length_s <= time_s <= change.part[1] * length_s:
                continue
            first_s = time_s if first_s is None else first_s
            picture = frame.to_ndarray(format="rgb24")
            y, x = (round(n * change.crop / 2 + 0.49) for n in picture.shape[:2])
            picture = picture[y : len(picture) - y, x : picture.shape[1] - x]
            if change.mirrored:
                picture = picture[:, ::-1]
            picture = np.ascontiguousarray(picture, np.uint8)
            changed = av.VideoFrame.from_ndarray(picture, format="rgb24")
            changed = changed.reformat(width, height, "yuv420p")
            changed.pts, changed.time_base = (
                round((time_s - first_s) / change.speed * TICKS),
                Fraction(1, TICKS),
            )
            written.mux(stream.encode(changed))
        written.mux(stream.encode(None))


def plant(work: Path, videos: int, copies: int, seed: int) -> Path:
    """Make the videos and the copies; returns a JSON Lines source of all. A copy's id is the video's, a slash, and what
    was done to it."""
    folder, changes = work / "videos", list(CHANGES)
    rows = []
    source = SourceKeys(name="microworld", path=str(folder), limit=videos, seed=seed)
    for number, sample in enumerate(tqdm(microworld.read(source), total=videos, desc="render")):
        path = folder / f"{sample.id}.mp4"
        told = [[e.start_s, e.end_s, e.text] for e in sample.events]
        rows.append({"id": sample.id, "video": path.name, "events": told})
        if number < copies:
            name = changes[number % len(changes)]
            copy = folder / f"{sample.id}-{name.replace(', ', '-').replace(' ', '-')}.mp4"
            if not copy.exists():
                unfinished = copy.with_name(f"unfinished-{copy.name}")
                write_copy(path, unfinished, CHANGES[name])
                unfinished.replace(copy)
            rows.append({"id": f"{sample.id}/{name}", "video": copy.name, "description": "a copy"})
    order = np.random.default_rng(seed).permutation(len(rows))
    listed = work / "clips.jsonl"
    listed.write_text("".join(json.dumps(rows[i]) + "\n" for i in order), encoding="utf-8")
    return listed


def measure_copies(
    work: Path, videos: int, copies: int, frames: int, seed: int
) -> dict[str, float]:
    """Recall by kind of change, and precision, of what curation drops as a copy."""
    listed = plant(work, videos, copies, seed)
    prepare(
        PrepareConfig(
            source=SourceKeys(name="jsonl", path=str(listed), videos=str(work / "videos")),
            frames=FrameKeys(max=frames, px=128),
            out=str(work / "prepared"),
        )
    )
    keys = {
        "data": {"path": str(work / "prepared")},
        "out": str(work / "curated"),
        "overwrite": True,
    }
    curate(CurateConfig.model_validate(keys))
    lines = (work / "curated/dropped.jsonl").read_text(encoding="utf-8").splitlines()
    return scored([json.loads(line) for line in lines], copies)


def scored(dropped: Sequence[Mapping[str, str]], copies: int) -> dict[str, float]:
    """Figures of the rows that were dropped as copies: right if both are of one video."""
    pairs = [(d["id"], d["twin"]) for d in dropped if d["reason"] == "copy"]
    right = [pair for pair in pairs if len({name.split("/")[0] for name in pair}) == 1]
    figures: dict[str, float] = {
        "copies/planted": copies,
        "copies/dropped": len(pairs),
        "copies/recall": len(right) / copies,
        "copies/precision": len(right) / max(1, len(pairs)),
    }
    changes = list(CHANGES)
    for k, change in enumerate(changes):
        planted = len(range(k, copies, len(changes)))
        found = sum(any(name.endswith(f"/{change}") for name in pair) for pair in right)
        figures[f"copies/{change}/recall"] = found / max(1, planted)
    return figures
