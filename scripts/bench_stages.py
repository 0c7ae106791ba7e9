"""Is it worth training in stages? Ways of training with equal steps in all: scores, and what is forgotten.

python scripts/bench_stages.py                         a tiny model, 3 seeds: 2 hours on 2 cores
python scripts/bench_stages.py language_model=SmolLM2-135M-Instruct.Q4_1.gguf method=lora
                                                       a pretrained one, adapters on it, in bf16: best on a GPU
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchStagesConfig


def main(config: BenchStagesConfig) -> Figures:
    from train.bench.stages import compare_stages  # heavy: not in the decode workers

    return compare_stages(config)


if __name__ == "__main__":
    bench(BenchStagesConfig, main, __doc__)
