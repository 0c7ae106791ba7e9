"""Turn videos into a prepared dataset: choose frames and store them with their true times.

python scripts/prepare.py source=jsonl source.path=clips.jsonl out=prepared/clips
python scripts/prepare.py source=microworld source.limit=64 out=prepared/microworld
"""

import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from data.errors import check_writable
from data.offline.config import PrepareConfig


def main(config: PrepareConfig) -> None:
    check_writable("json", config.json_)
    from data.offline.prepare import prepare
    from data.prepared.summary import report
    from data.storage import write_atomically

    summary = prepare(config)
    print(report(summary))
    print(f"in {config.out}; quarantined rows: {config.out}/quarantine.jsonl")
    if config.json_:
        write_atomically(Path(config.json_), json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(PrepareConfig, main, __doc__)
