"""What fits on a small GPU, and how fast: real steps at published shapes, memory capped. No downloads.

python scripts/bench_gpu.py                                          everything, under 9 minutes
python scripts/bench_gpu.py models=2.2B methods=qlora json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import Figures, bench
from data.storage import write_atomically
from train.bench.config import BenchGpuConfig


def main(config: BenchGpuConfig) -> Figures:
    from train.bench.gpu import measure  # heavy

    def written(figures: Figures) -> None:
        if config.json_ is not None:
            write_atomically(config.json_, json.dumps(figures, indent=1) + "\n")

    return measure(config, written)


if __name__ == "__main__":
    bench(BenchGpuConfig, main, __doc__)
