"""Measure speed and quality of frame selection, as ratios within one run; makes its own videos.

python scripts/bench_selection.py                       everything, about twelve minutes on 2 cores
python scripts/bench_selection.py parts=labels,clips json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig, Figures, bench
from data.errors import UserError
from data.config import by_commas

SHARED = Path(__file__).resolve().parents[2] / "shared"
Part = Literal["speed", "labels", "built", "clips", "memory"]


def folder(name: str, file: str) -> str | None:
    """A folder of labelled data beside the checkout, or None if `file` is not in it."""
    return str(SHARED / name) if (SHARED / name / file).is_file() else None


class Config(BenchConfig):
    """Keys of scripts/bench_selection.py."""

    parts: Annotated[list[Part], BeforeValidator(by_commas)] = Field(
        default=["speed", "labels", "built", "clips", "memory"],
        description="what to measure: speed, labels, built, clips, memory",
    )
    video: str | None = Field(default=None, description="one more video to time")
    work: str = Field(default="prepared/bench", description="where built videos are kept")
    repeat: int = Field(default=5, ge=1, description="runs of each timing; the fastest counts")
    per_half: int = Field(default=4, ge=1, description="built videos per group and half")
    clips: str | None = Field(
        default_factory=lambda: folder("videos", "clips.jsonl"),
        description="folder of labelled real clips (clips.jsonl)",
    )
    labels: str | None = Field(
        default_factory=lambda: folder("labels", "shot_test.json"),
        description="folder of shot labels and scores (shot_test.json, shot_test_scores.npz)",
    )


def main(config: Config) -> Figures:
    from data.bench import labelled, selection_speed

    if config.video is not None and not Path(config.video).is_file():
        raise UserError(f"video={config.video}: no such file")
    clips = None if config.clips is None else Path(config.clips)
    if clips is not None and not (clips / "clips.jsonl").is_file():
        raise UserError(f"clips={clips}: no clips.jsonl in it")
    work = Path(config.work)
    figures: Figures = {}
    if "labels" in config.parts:
        if config.labels is None:
            print("labels: not measured (no labels=FOLDER)")
        else:
            figures |= labelled.measure_labels(Path(config.labels))
    if "clips" in config.parts:
        figures |= labelled.measure_clips(clips) if clips else {}
        if clips is None:
            print("clips: not measured (no clips=FOLDER)")
    if "built" in config.parts:
        figures |= labelled.measure_built(work, clips, config.per_half)
    if "speed" in config.parts:
        figures |= selection_speed.measure_speed(work, config.repeat, config.video)
    if "memory" in config.parts:
        figures |= selection_speed.measure_memory(work)
    return figures


if __name__ == "__main__":
    bench(Config, main, __doc__)
