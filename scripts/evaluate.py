"""Score the descriptions of one or several models: figures with intervals, side by side, and a report page.

python scripts/evaluate.py data.path=prepared/videos adapter=runs/clips base=true out=evals/clips
python scripts/evaluate.py data.path=prepared/videos adapter=runs/clips frames.policy=scene,uniform out=evals/policies
python scripts/evaluate.py predictions=theirs.json references=truth.json out=evals/theirs
python scripts/evaluate.py compare=evals/clips,evals/theirs out=evals/both
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from data.errors import check_writable
from train.evaluation.config import EvaluateConfig


def main(config: EvaluateConfig) -> None:
    check_writable("json", config.json_)
    from train.evaluation.evaluate import evaluate

    evaluate(config)


if __name__ == "__main__":
    command(EvaluateConfig, main, __doc__)
