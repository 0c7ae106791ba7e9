"""A teacher for videos without labels: a larger model tells them, and the captions are what a small one learns from.

python scripts/caption.py source.path=films/ out=captions/films teacher.model=large teacher.base_url=http://127.0.0.1:8000/v1
python scripts/caption.py source.path=films/ out=captions/films adapter=runs/large
python scripts/prepare.py source=jsonl source.path=captions/films/captions.jsonl out=prepared/films
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import UserError
from train.teacher.config import CaptionConfig


def main(config: CaptionConfig) -> None:
    from train.teacher.command import CAPTIONS, FAILED, caption_videos

    count, failed = caption_videos(config)
    print(f"{count - failed} of {count} videos told, in {config.out}/{CAPTIONS}")
    if failed == count:
        raise UserError(f"no video could be told; see {config.out}/{FAILED}")
    if failed:
        print(f"{failed} could not be: see {config.out}/{FAILED}")
        sys.exit(1)


if __name__ == "__main__":
    command(CaptionConfig, main, __doc__)
