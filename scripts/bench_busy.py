"""Time commands on a CPU that does other work too, and time them again with threads that spin.

python scripts/bench_busy.py json=out.json        about ten minutes
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchBusyConfig


def main(config: BenchBusyConfig) -> Figures:
    from train.bench.busy import measure  # heavy

    return measure(config)


if __name__ == "__main__":
    bench(BenchBusyConfig, main, __doc__)
