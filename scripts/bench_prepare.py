"""Measure speed, memory and resume of scripts/prepare.py; makes its own videos.

python scripts/bench_prepare.py                          everything, about half an hour on 2 cores
python scripts/bench_prepare.py parts=speed json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig, Figures, bench
from data.config import by_commas

Part = Literal["speed", "memory", "resume"]


class Config(BenchConfig):
    """Keys of scripts/bench_prepare.py."""

    parts: Annotated[list[Part], BeforeValidator(by_commas)] = Field(
        default=["speed", "memory", "resume"], description="what to measure: speed, memory, resume"
    )
    work: str = Field(default="prepared/bench", description="where videos and runs are kept")
    videos: int = Field(default=16, ge=1, description="speed: number of videos, each 282 s of 360p")
    rows: list[int] = Field(default=[1000, 20_000], description="memory: rows of each run")
    resume_rows: int = Field(default=100_000, ge=1, description="resume: rows of the run")


def main(config: Config) -> Figures:
    from data.bench import offline

    work = Path(config.work)
    work.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    if "speed" in config.parts:
        figures |= offline.measure_speed(work, config.videos)
    if "memory" in config.parts:
        figures |= offline.measure_memory(work, tuple(config.rows))
    if "resume" in config.parts:
        figures |= offline.measure_resume(work, config.resume_rows)
    return figures


if __name__ == "__main__":
    bench(Config, main, __doc__)
