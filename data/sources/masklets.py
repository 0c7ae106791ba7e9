"""Masks of one subject as boxes: the masklets of SA-V, which PLM's region captions are about.

`sav_000001_manual.json` (or `_auto.json`) lies beside `sav_000001.mp4`: `masklet[frame][object]` is a mask in COCO's
run-length encoding, or nothing where the object is not seen; frames are numbered at six per second; `masklet_id` names the
objects.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.sources.dialects import PLM_FPS, BadRow

KINDS = ("manual", "auto")


def boxes_of_masklet(video: str, masklet_id: Any) -> list[list[float]] | None:
    """`[time_s, x1, y1, x2, y2]` for each frame with a mask and `[time_s]` for each without; None: there are no masks
    beside the video.

    Raises:
        BadRow: the file has no such object, or is no annotation.
        UserError: pycocotools is not installed.
    """
    files = [Path(video).with_name(f"{Path(video).stem}_{kind}.json") for kind in KINDS]
    found = [file for file in files if file.is_file()]
    if not found:
        return None
    for file in found:
        names, frames = _read(str(file))
        if masklet_id in names:
            return _boxes(frames, names.index(masklet_id), file.name)
    raise BadRow(f"masklet_id={masklet_id!r:.40}: no such object in {found[0].name}")


@lru_cache(maxsize=2)
def _read(file: str) -> tuple[list[Any], list[list[Any]]]:
    try:
        content = json.loads(Path(file).read_bytes())
        return list(content["masklet_id"]), list(content["masklet"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadRow(f"{Path(file).name}: no masklets in it") from None


def _boxes(frames: list[list[Any]], place: int, name: str) -> list[list[float]]:
    try:
        from pycocotools import mask as masks
    except ImportError:
        raise UserError(
            "source.path: rows with masklets need pycocotools; pip install -e '.[masks]'"
        ) from None
    boxes: list[list[float]] = []
    for number, objects in enumerate(frames):
        boxes.append([number / PLM_FPS])
        try:
            mask = objects[place] if objects and place < len(objects) else None
            if not mask:
                continue
            height, width = mask["size"]
            rle = {"size": [height, width], "counts": mask["counts"].encode()}
            x, y, w, h = masks.toBbox(rle).tolist()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadRow(f"{name}: frame {number} holds no mask that can be read") from None
        if w > 0 and h > 0:
            boxes[-1] += [x / width, y / height, (x + w) / width, (y + h) / height]
    return boxes
