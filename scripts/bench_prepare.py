"""Speed, memory and resume of the offline run; makes its own videos.

python scripts/bench_prepare.py                          everything, about half an hour on 2 cores
python scripts/bench_prepare.py parts=speed json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from data.bench import offline
from data.command import command
from data.config import Section, by_commas, check_writable

Part = Literal["speed", "memory", "resume"]


class BenchConfig(Section):
    """Keys of scripts/bench_prepare.py."""

    parts: Annotated[list[Part], BeforeValidator(by_commas)] = Field(
        default=["speed", "memory", "resume"], description="what to measure: speed, memory, resume"
    )
    work: str = Field(default="prepared/bench", description="where videos and runs are kept")
    videos: int = Field(default=16, ge=1, description="speed: rows, of 282 s of 360p each")
    rows: list[int] = Field(default=[1000, 20_000], description="memory: rows of the runs")
    resume_rows: int = Field(default=100_000, ge=1, description="resume: rows of the run")
    json_: str | None = Field(default=None, alias="json", description="write the figures here")


def main(config: BenchConfig) -> None:
    check_writable("json", config.json_)
    work = Path(config.work)
    work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    if "speed" in config.parts:
        figures |= offline.measure_speed(work, config.videos)
    if "memory" in config.parts:
        figures |= offline.measure_memory(work, tuple(config.rows))
    if "resume" in config.parts:
        figures |= offline.measure_resume(work, config.resume_rows)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(BenchConfig, main, __doc__)
