"""Prepare, train, describe and score with synthetic videos and a tiny model, on a CPU: `make demo`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from data.errors import check_writable
from train.demo.config import DemoConfig


def main(config: DemoConfig) -> None:
    check_writable("json", config.json_)
    from train.demo.demo import run_demo

    run_demo(config)


if __name__ == "__main__":
    command(DemoConfig, main, __doc__)
