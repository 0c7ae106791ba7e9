"""What fits on a small card, and how fast: real steps at published shapes under a memory cap. No downloads.

python scripts/bench_gpu.py                                          everything, under 9 minutes
python scripts/bench_gpu.py models=2.2B methods=qlora json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
from typing import Any

from data.command import command
from data.config import check_writable
from data.storage import write_atomically
from train.bench.config import BenchGpuConfig


def main(config: BenchGpuConfig) -> None:
    check_writable("json", config.json_)
    from train.bench.gpu import measure  # heavy

    def written(figures: dict[str, Any]) -> None:
        if config.json_ is not None:
            write_atomically(Path(config.json_), json.dumps(figures, indent=1) + "\n")

    written(measure(config, written))


if __name__ == "__main__":
    command(BenchGpuConfig, main, __doc__)
