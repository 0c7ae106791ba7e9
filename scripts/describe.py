"""Describe videos with a fine-tuned model, with the frame policy and the prompt of its training.

A long video is described window by window, and the windows' events are joined. A video that cannot be used is
named with the reason, the others are described, and the exit code is 1 (2: none could be used). With out=FOLDER
descriptions, subtitles and a page are written, and the same command continues a stopped run.

python scripts/describe.py VIDEO [VIDEO …] adapter=runs/clips
python scripts/describe.py videos/ adapter=runs/clips out=described
accelerate launch scripts/describe.py list.txt adapter=you/clips out=described
python scripts/describe.py VIDEO adapter=merged/clips format=request | curl -H 'Content-Type: application/json' -d @- ADDRESS/v1/chat/completions
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from data.errors import UserError, warn
from train.inference.config import DescribeConfig


def main(config: DescribeConfig) -> None:
    if not config.videos:
        raise UserError("which video? python scripts/describe.py VIDEO adapter=RUN")
    from data.sources.files import videos_of
    from train.inference.describe import describe, run_for

    run = run_for(config)
    if config.out is not None:
        from train.inference.folder.describe import describe_folder

        count, bad = describe_folder(config, run, videos_of(config.videos))
        _end(count, bad)
        return
    # printed as asked: what is named twice is told twice
    videos = [video for place in config.videos for video in videos_of([place])]
    if config.format == ("request",):
        from train.inference.request import requests

        for request in requests(config, run, videos):
            print(json.dumps(request, ensure_ascii=False), flush=True)
        return
    bad = 0
    for described in describe(config, run, videos):
        if "error" in described:
            bad += 1
            warn(f"error: {described['error']} ({described['reason']})")
        for line in _printed(described, config, several=len(videos) > 1):
            print(line, flush=True)
    _end(len(videos), bad)


def _printed(described: dict, config: DescribeConfig, *, several: bool) -> Iterator[str]:
    """What is printed of a video."""
    if config.format == ("json",):
        from train.inference.describe import as_line

        yield as_line(described)
    elif "error" not in described:
        from data.sources.parse import without_surrogates
        from train.inference.cues import srt, vtt

        made = {"srt": srt, "vtt": vtt, "text": lambda record: record["text"]}
        text = made[(config.format or ("text",))[0]](described)
        # a file's name need not be UTF-8
        yield f"{without_surrogates(described['video'])}\n{text}\n" if several else text


def _end(count: int, bad: int) -> None:
    """The exit code."""
    if bad:
        sys.exit(1 if bad < count else 2)


if __name__ == "__main__":
    command(DescribeConfig, main, __doc__, files="videos")
