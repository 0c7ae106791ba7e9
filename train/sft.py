"""Fine-tune SmolVLM2 to describe videos.

accelerate launch train/sft.py recipe=qlora
accelerate launch train/sft.py recipe=lora data.path=prepared/clips optim.lr=2e-4
accelerate launch train/sft.py train.resume=true train.output=runs/clips
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script: `data` and `train` must be this clone's, from any folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.config import TrainConfig
from train.training import Learning, train_run

if TYPE_CHECKING:
    from data.prepared.dataset import Prepared


def main(config: TrainConfig) -> dict[str, float]:
    """Prepared dataset + checkpoint → run folder with adapter (or model), policy and records."""
    return train_run(config, _answers)


def _answers(config: TrainConfig, dataset: Prepared) -> Learning:
    """All answers of the dataset are learned."""
    from train.batches.dataset import load_sets
    from train.loop.trainer import make_trainer

    return Learning(load_sets, make_trainer)


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
