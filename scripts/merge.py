"""Merge an adapter into its base model: writes a folder that transformers and compatible tools load directly.

python scripts/merge.py adapter=runs/clips out=merged/clips
python scripts/merge.py adapter=you/clips out=merged/clips dtype=fp16
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.inference.config import MergeConfig


def main(config: MergeConfig) -> None:
    from train.inference.merge import merge  # torch

    merge(config)


if __name__ == "__main__":
    command(MergeConfig, main, __doc__)
