"""Compute the frozen vision tower's features of a prepared dataset once; training then reads them.

python scripts/cache_features.py recipe=lora data.path=prepared/videos
accelerate launch train/sft.py recipe=lora data.path=prepared/videos data.features=true
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.early_checks import check_data
from train.config import TrainConfig


def main(config: TrainConfig) -> None:
    dataset = check_data(config.data)
    from train.batches.cache_features import cache_features  # heavy
    from train.model.origin import on_its_base

    config = on_its_base(config)
    cache_features(config, dataset)


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
