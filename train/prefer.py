"""Train on pairs of answers, after SFT: the better over the worse.

accelerate launch train/prefer.py model.name=runs/clips pairs=prepared/clips-pairs
accelerate launch train/prefer.py model.name=runs/clips pairs=prepared/clips-pairs prefer.method=dpo+sft
accelerate launch train/prefer.py train.resume=true train.output=runs/clips-dpo
"""

import sys
from pathlib import Path

if not __package__:  # run as a script: `data` and `train` must be this clone's, from any folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.preference.command import prefer
from train.preference.config import PreferConfig

if __name__ == "__main__":
    command(PreferConfig, prefer, __doc__)
