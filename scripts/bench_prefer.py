"""What helps after SFT where its labels are poor? More SFT, RFT, DPO, GRPO at about equal compute, on tiny models.

python scripts/bench_prefer.py                          3 cases, 3 seeds: 2 to 3 hours on 2 cores
python scripts/bench_prefer.py cases=jittered seeds=0 json=out.json
python scripts/bench_prefer.py parts=cost               what a step of DPO costs beside TRL's own: a minute
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchPreferConfig


def main(config: BenchPreferConfig) -> Figures:
    figures: Figures = {}
    if "cost" in config.parts:
        from train.bench.pair_cost import measure_cost  # heavy: not in the decode workers

        figures |= measure_cost(config)
    if "ways" in config.parts:
        from train.bench.prefer import compare_prefer

        figures |= compare_prefer(config)
    return figures


if __name__ == "__main__":
    bench(BenchPreferConfig, main, __doc__)
