"""Is a teacher's telling of many videos worth more than true labels of a few? Tiny models, 3 seeds: an hour.

python scripts/bench_teacher.py
python scripts/bench_teacher.py seeds=0 videos=500 few=100 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchTeacherConfig


def main(config: BenchTeacherConfig) -> Figures:
    from train.bench.teacher import compare_teacher  # heavy

    return compare_teacher(config)


if __name__ == "__main__":
    bench(BenchTeacherConfig, main, __doc__)
