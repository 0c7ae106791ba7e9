"""Describe videos with a fine-tuned model, with the frame policy and the prompt of its training.

A long video is described window by window, and the windows' events are joined. A video that cannot be used is
named with the reason, the others are described, and the exit code is 1 (2: none could be used).

python scripts/describe.py VIDEO [VIDEO …] adapter=runs/clips
python scripts/describe.py VIDEO adapter=runs/clips format=json
python scripts/describe.py VIDEO adapter=merged/clips format=request | curl -H 'Content-Type: application/json' -d @- ADDRESS/v1/chat/completions
"""

import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from data.errors import UserError, warn
from train.inference.config import DescribeConfig


def main(config: DescribeConfig) -> None:
    if not config.videos:
        raise UserError("which video? python scripts/describe.py VIDEO adapter=RUN")
    from train.inference.describe import describe
    from train.run.saved import read_run

    run = read_run(config.adapter, base=config.model.name, force=config.force)
    if config.format == "request":
        from train.inference.request import requests

        for request in requests(config, run):
            print(json.dumps(request, ensure_ascii=False), flush=True)
        return
    bad = 0
    for described in describe(config, run):
        if "error" in described:
            bad += 1
            warn(f"error: {described['error']} ({described['reason']})")
        if config.format == "json":
            print(json.dumps(described, ensure_ascii=False), flush=True)
        elif "error" in described:
            continue
        elif len(config.videos) > 1:
            print(f"{described['video']}\n{described['text']}\n", flush=True)
        else:
            print(described["text"], flush=True)
    if bad:
        sys.exit(1 if bad < len(config.videos) else 2)


if __name__ == "__main__":
    command(DescribeConfig, main, __doc__, files="videos")
