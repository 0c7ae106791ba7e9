"""Push a prepared dataset to the Hub, with a card; private by default.

python scripts/push_dataset.py data.path=prepared/clips hub.repo=you/clips
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.prepared.config import PushConfig


def main(config: PushConfig) -> None:
    from data.prepared.push import push_dataset

    page = push_dataset(config)
    print(f"{page}; train on it: data.path=hf://datasets/{config.hub.repo} data.stream=true")


if __name__ == "__main__":
    command(PushConfig, main, __doc__)
