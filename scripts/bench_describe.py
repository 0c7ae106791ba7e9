"""Measure how fast many videos are described, against transformers' pipeline, and that memory stays flat.

python scripts/bench_describe.py json=out.json                      about half an hour on 2 cores
python scripts/bench_describe.py models=500M,2.2B frames=32 memory=[]     on a GPU
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tempfile

from data.command import Figures, bench
from train.bench.config import BenchDescribeConfig


def main(config: BenchDescribeConfig) -> Figures:
    from train.bench.describe import compare_speed, measure_memory

    with tempfile.TemporaryDirectory() as folder:
        figures = compare_speed(config, Path(folder))
        return figures | measure_memory(config.memory, Path(folder))


if __name__ == "__main__":
    bench(BenchDescribeConfig, main, __doc__)
