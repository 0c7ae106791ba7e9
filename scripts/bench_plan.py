"""Check the memory plan: planned bytes beside those counted in real training steps, at published shapes.

python scripts/bench_plan.py                                      256M and 500M, 8 minutes on 2 cores
python scripts/bench_plan.py models=256M frames=4 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchPlanConfig


def main(config: BenchPlanConfig) -> Figures:
    from train.bench.plan import measure  # heavy

    return measure(config)


if __name__ == "__main__":
    bench(BenchPlanConfig, main, __doc__)
