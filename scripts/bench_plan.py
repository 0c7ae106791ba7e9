"""Is the memory plan right? Planned bytes beside those counted in real steps, at published shapes.

python scripts/bench_plan.py                                      256M and 500M, 8 minutes on 2 cores
python scripts/bench_plan.py models=256M frames=4 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import command
from data.config import check_writable
from train.bench.config import BenchPlanConfig


def main(config: BenchPlanConfig) -> None:
    check_writable("json", config.json_)
    from train.bench.plan import measure  # heavy

    figures = measure(config)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(BenchPlanConfig, main, __doc__)
