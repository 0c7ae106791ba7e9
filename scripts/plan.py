"""Will it fit, and how long will it take? Memory and time of a run, without weights or a GPU.

python scripts/plan.py recipe=qlora                     on a card with 16 GB
python scripts/plan.py recipe=qlora gpu=t4 frames.max=64 train.batch=4
python scripts/plan.py recipe=full data.path=prepared/clips json=plan.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import check_writable
from train.memory.config import PlanConfig, check_plan


def main(config: PlanConfig) -> None:
    check_writable("json", config.json_)
    from train.model.origin import on_its_base

    config = on_its_base(config)
    check_plan(config)
    from train.memory.report import show_plan  # heavy

    show_plan(config)


if __name__ == "__main__":
    command(PlanConfig, main, __doc__)
