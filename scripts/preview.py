"""See which frames a policy chooses: one page per video, policies side by side.

python scripts/preview.py holiday.mp4
python scripts/preview.py *.mp4 frames.policy=scene,uniform,correlation frames.max=16 labels=clips.jsonl
"""

import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import UserError, check_writable
from data.preview.config import PreviewConfig


def main(config: PreviewConfig) -> None:
    check_writable("json", config.json_)
    from tqdm import tqdm

    from data.preview import draw
    from data.preview.collect import collect, labelled
    from data.storage import write_atomically
    from data.video.info import BadVideo

    samples = labelled(config.labels)
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={out}: cannot be made ({error.strerror})") from None
    figures, bad, taken = {}, [], set()
    for video in tqdm(config.videos, desc="preview", unit="video", disable=len(config.videos) < 2):
        name = Path(video).stem or "video"
        while name in taken:
            name += "-2"
        taken.add(name)
        path = out / f"{name}.{config.format}"
        try:
            preview = collect(video, config.every, samples.get(Path(video).resolve()))
        except BadVideo as error:
            bad.append(f"{error.reason}: {error.detail}")
            continue
        if config.format == "html":
            write_atomically(path, draw.html(preview, Path(video).name))
        else:
            draw.png(preview, Path(video).name, path)
        figures[video] = {c.name: c.figures for c in preview.chosen}
        print(path)
    if config.json_:
        write_atomically(Path(config.json_), json.dumps(figures, indent=1) + "\n")
    if bad:
        raise UserError("\n".join(bad))


if __name__ == "__main__":
    command(PreviewConfig, main, __doc__, files="videos")
