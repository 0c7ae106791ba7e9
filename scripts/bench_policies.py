"""Does choosing frames by scene make descriptions better? Trains a tiny model per policy on the micro-world.

python scripts/bench_policies.py                                about half an hour on 2 cores
python scripts/bench_policies.py seeds=0 steps=300 videos=1200 policies=scene,uniform json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import PoliciesConfig


def main(config: PoliciesConfig) -> Figures:
    from train.bench.policies import compare_policies  # heavy: not in the decode workers

    return compare_policies(config)


if __name__ == "__main__":
    bench(PoliciesConfig, main, __doc__)
