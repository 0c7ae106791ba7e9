"""Curate a prepared dataset: drop copies, black and still videos; keep those most unlike each other.

python scripts/curate.py data.path=prepared/videos out=prepared/clean
python scripts/curate.py data.path=prepared/videos out=prepared/eval subset=200
python scripts/curate.py data.path=prepared/test out=prepared/unseen against=prepared/videos
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.curation.config import CurateConfig


def main(config: CurateConfig) -> None:
    from data.curation.command import DROPPED, PAGE, curate, report  # scipy: slow to load

    print(report(curate(config)))
    print(f"in {config.out}; what was dropped and why: {PAGE}, {DROPPED}")


if __name__ == "__main__":
    command(CurateConfig, main, __doc__)
