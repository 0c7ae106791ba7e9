"""Time one training step as ratios: TRL's own SFTTrainer, ours, ours with cached features, ours packed.

python scripts/bench_step.py                            256M shapes, LoRA: 5 minutes on 2 cores
python scripts/bench_step.py model=500M frames=64 steps=0 unequal=false  counts FLOPs: half an hour
python scripts/bench_step.py model=500M frames=16 json=out.json       (with a GPU)
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchStepConfig


def main(config: BenchStepConfig) -> Figures:
    from train.bench.trl_step import measure  # heavy

    return measure(config)


if __name__ == "__main__":
    bench(BenchStepConfig, main, __doc__)
