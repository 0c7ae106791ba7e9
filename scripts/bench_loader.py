"""Do prepared frames arrive as fast as a training step uses them?

python scripts/bench_loader.py                                      micro-world videos, 2 minutes
python scripts/bench_loader.py path=prepared/finevideo-500 model=500M gpu=24 workers=2,4 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import json

from data.command import command
from data.config import check_writable
from train.bench.config import BenchLoaderConfig


def main(config: BenchLoaderConfig) -> None:
    check_writable("json", config.json_)
    from train.bench.loader import measure  # heavy

    figures = measure(config)
    if config.json_ is not None:
        Path(config.json_).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(BenchLoaderConfig, main, __doc__)
