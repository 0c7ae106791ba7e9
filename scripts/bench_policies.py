"""Does choosing frames by scene make descriptions better? A tiny model per policy on the micro-world.

python scripts/bench_policies.py                                about half an hour on 2 cores
python scripts/bench_policies.py seeds=0 steps=300 videos=1200 policies=scene,uniform json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import command
from data.config import check_writable
from train.evaluation.bench_config import PoliciesConfig


def main(config: PoliciesConfig) -> None:
    check_writable("json", config.json_)
    from train.evaluation.policies import compare_policies  # heavy: not in the decode workers

    figures = compare_policies(config)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(PoliciesConfig, main, __doc__)
