"""One training step: TRL's own SFTTrainer beside ours, with cached features, and packed; as ratios.

python scripts/bench_step.py                            256M shapes, LoRA: 5 minutes on 2 cores
python scripts/bench_step.py model=500M frames=16 json=out.json       (with a GPU)
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import command
from data.config import check_writable
from train.bench.config import BenchStepConfig


def main(config: BenchStepConfig) -> None:
    check_writable("json", config.json_)
    from train.bench.step import measure  # heavy

    figures = measure(config)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(BenchStepConfig, main, __doc__)
