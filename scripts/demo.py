"""The main job on synthetic videos and a tiny model, on a CPU: `make demo`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.config import command
from train.demo import DemoConfig, run_demo

if __name__ == "__main__":
    command(DemoConfig, run_demo, __doc__)
