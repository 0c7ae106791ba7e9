"""Train a selector: a small network that finds shots and values frames.

python scripts/train_selector.py objective=boundaries out=selectors/boundaries      about half an hour on 2 cores
python scripts/prepare.py … frames.boundaries=learned frames.selector=selectors/boundaries
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.selector.config import SelectorConfig


def main(config: SelectorConfig) -> None:
    from train.selector.command import train_selector  # torch: slow to load

    train_selector(config)


if __name__ == "__main__":
    command(SelectorConfig, main, __doc__)
