"""Is the subject in the box described, and no other? Made-up videos of two subjects, tiny models, 3 seeds: an hour.

python scripts/bench_regions.py
python scripts/bench_regions.py seeds=0 steps=400 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchRegionsConfig


def main(config: BenchRegionsConfig) -> Figures:
    from train.bench.regions import compare_regions  # heavy

    return compare_regions(config)


if __name__ == "__main__":
    bench(BenchRegionsConfig, main, __doc__)
