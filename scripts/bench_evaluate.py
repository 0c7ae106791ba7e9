"""Measure speed and memory of scoring, and size and opening time of a large report; makes its own data.

python scripts/bench_evaluate.py json=out.json          about three minutes on 2 cores
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tempfile

from pydantic import Field

from data.command import BenchConfig, Figures, bench


class Config(BenchConfig):
    """Keys of scripts/bench_evaluate.py."""

    predictions: tuple[int, ...] = Field(
        default=(1000, 10_000), description="numbers of videos to score: [1000,10000]"
    )
    videos: int = Field(default=1000, ge=1, description="videos in the report")


def main(config: Config) -> Figures:
    from train.bench.evaluate import measure_report, measure_scoring

    figures = measure_scoring(config.predictions)
    with tempfile.TemporaryDirectory() as folder:
        figures |= measure_report(Path(folder), config.videos)
    return figures


if __name__ == "__main__":
    bench(Config, main, __doc__)
