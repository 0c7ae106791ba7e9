"""Do prepared frames arrive as fast as a training step uses them?

python scripts/bench_loader.py                                      micro-world videos, 2 minutes
python scripts/bench_loader.py path=prepared/finevideo-500 model=500M gpu=24 workers=2,4 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchLoaderConfig


def main(config: BenchLoaderConfig) -> Figures:
    from train.bench.loader import measure  # heavy

    return measure(config)


if __name__ == "__main__":
    bench(BenchLoaderConfig, main, __doc__)
