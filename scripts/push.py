"""Push a run to the Hub: weights, processor, frame policy, curves, scores and model card; private by default.

python scripts/push.py run=runs/clips hub.repo=you/clips
python scripts/push.py run=runs/clips hub.repo=you/clips evaluation=evals/clips hub.private=false
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import UserError
from train.hub.config import PushRunConfig


def main(config: PushRunConfig) -> None:
    if config.hub.repo is None:
        raise UserError("hub.repo: missing; give hub.repo=owner/name")
    from train.hub.push import push_run

    evaluation = Path(config.evaluation) if config.evaluation else None
    page = push_run(Path(config.run), config.hub, evaluation)
    print(f"{page}; use it: scripts/describe.py VIDEO adapter={config.hub.repo}")


if __name__ == "__main__":
    command(PushRunConfig, main, __doc__)
