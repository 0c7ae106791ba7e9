"""What do fewer tokens a frame save? Memory and compute of a training step, by the plan.

python scripts/bench_tokens.py                                    500M and 2.2B, 1 minute, no weights needed
python scripts/bench_tokens.py models=256M frames=64 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchTokensConfig


def main(config: BenchTokensConfig) -> Figures:
    from train.bench.tokens import what_fits  # heavy

    return what_fits(config)


if __name__ == "__main__":
    bench(BenchTokensConfig, main, __doc__)
