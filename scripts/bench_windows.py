"""Are long videos described better window by window? Trains a tiny model per way on micro-world films.

python scripts/bench_windows.py                                  about half an hour on 2 cores
python scripts/bench_windows.py ways=windows,tenths seeds=0,1,2 film_s=null films=3200 frames=6
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchWindowsConfig


def main(config: BenchWindowsConfig) -> Figures:
    from train.bench.windows import compare_windows  # heavy: not in the decode workers

    return compare_windows(config)


if __name__ == "__main__":
    bench(BenchWindowsConfig, main, __doc__)
