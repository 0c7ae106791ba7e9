"""Serve a page to try a model: upload a video, see the chosen frames, compare the answer with the base's.

python scripts/app.py adapter=runs/clips
python scripts/app.py adapter=you/clips host=0.0.0.0 port=7860 max_mb=100
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import UserError
from train.inference.config import AppConfig


def main(config: AppConfig) -> None:
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise UserError("gradio is not installed: pip install -e '.[app]'")
    from train.run.from_hub import folder_of

    folder_of(config.adapter)  # refused before anything heavy is imported
    from train.inference.app.page import serve

    serve(config)


if __name__ == "__main__":
    command(AppConfig, main, __doc__)
