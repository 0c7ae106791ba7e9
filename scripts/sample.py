"""Sample several answers to each video, score them, and pair better with worse, for training after SFT.

python scripts/sample.py run=runs/clips data.path=prepared/clips samples=4
python scripts/sample.py run=runs/clips data.path=prepared/clips makers.sampled=0 makers.dropped=1 makers.shifted=1
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.preference.config import SampleConfig


def main(config: SampleConfig) -> None:
    from train.preference.sample import sample  # torch: slow to load

    sample(config)


if __name__ == "__main__":
    command(SampleConfig, main, __doc__)
