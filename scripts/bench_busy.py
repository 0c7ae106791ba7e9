"""Commands on a CPU beside other work: how long they take, and how long with threads that spin.

python scripts/bench_busy.py json=out.json        about ten minutes
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import command
from data.config import check_writable
from train.bench.config import BenchBusyConfig


def main(config: BenchBusyConfig) -> None:
    check_writable("json", config.json_)
    from train.bench.busy import measure  # heavy

    figures = measure(config)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(BenchBusyConfig, main, __doc__)
