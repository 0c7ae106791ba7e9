"""Measure scripts/curate.py: which planted copies it finds, its time and memory with many rows.

python scripts/bench_curate.py                               both, about half an hour on 2 cores
python scripts/bench_curate.py parts=copies json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from data.command import BenchConfig, Figures, bench
from data.config import by_commas

Part = Literal["copies", "rows"]


class Config(BenchConfig):
    """Keys of scripts/bench_curate.py."""

    parts: Annotated[tuple[Part, ...], BeforeValidator(by_commas)] = Field(
        default=("copies", "rows"), description="what to measure"
    )
    work: str = Field(default="prepared/curate", description="where videos and datasets are kept")
    videos: int = Field(default=2000, ge=2, description="copies: videos of the micro-world")
    copies: int = Field(default=440, ge=1, description="copies: copies of the first ones")
    frames: int = Field(default=32, ge=1, description="copies: frames of a row, at most")
    rows_frames: int = Field(default=8, ge=1, description="rows: frames of each")
    seed: int = Field(default=13, ge=0, description="copies: seed of the videos")
    rows: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(10_000, 100_000), description="rows: how many, of random pictures"
    )
    px: int = Field(default=96, ge=16, description="rows: height of a picture")


def main(config: Config) -> Figures:
    from data.bench.planted import measure_copies  # heavy: not in the decode workers
    from data.bench.rows import measure_rows

    figures: Figures = {}
    work = Path(config.work)
    work.mkdir(parents=True, exist_ok=True)
    if "copies" in config.parts:
        figures |= measure_copies(work, config.videos, config.copies, config.frames, config.seed)
    if "rows" in config.parts:
        for count in config.rows:
            figures |= measure_rows(work, count, config.rows_frames, config.px)
    return figures


if __name__ == "__main__":
    bench(Config, main, __doc__)
