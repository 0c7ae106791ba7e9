"""The held-out videos of a prepared dataset as a benchmark of VLMEvalKit: its table, the frames, a
configuration, and the references to score its answers against.

VLMEvalKit shows the frames as separate images, without the prompt's frame times, so the question lists
the times. It has no scores for such a benchmark (`--mode infer` only): scripts/evaluate.py reads its
answers as they are and scores them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.errors import UserError
from data.prepared.dataset import Prepared
from data.sample import events_of
from data.storage import write_atomically
from data.target import clock, target
from data.window import as_seen
from train.batches.encode import first_prompt
from train.batches.split import split
from train.evaluation.config import ExportConfig
from train.evaluation.records import reference_of, write_references
from train.sections import DataKeys


def export(config: ExportConfig) -> dict[str, Any]:
    """Write `<name>.tsv`, `images/<name>/`, and `<name>.json` for `run.py --config`.

    Raises:
        UserError: no such dataset, or a name that is no file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", config.name):
        raise UserError(
            f"name={config.name}: only letters, digits, '_', '-' and '.', because it names files"
        )
    everything = Prepared.open(config.data.path).rows()
    held = split(everything, config.data.eval_share, config.data.eval_max).held
    rows = everything.select(held) if held else everything
    if config.limit is not None:
        rows = rows.select(range(min(config.limit, len(rows))))
    out = Path(config.out)
    pictures = out / "images" / config.name
    pictures.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    table = csv.writer(buffer, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writerow(["index", "image_path", "question", "answer"])
    for i, stored in enumerate(tqdm(rows, desc="export", unit="video")):
        row = as_seen(stored, config.data.window_clock)
        paths = []
        for k, frame in enumerate(row["frames"]):
            path = pictures / f"{i:06d}-{k:03d}.jpg"  # an id may not be a file name
            path.write_bytes(frame["bytes"])
            paths.append(str(path.resolve()))
        answer, _ = target(
            events_of(row), row["description"], config.data.target, config.data.clock
        )
        table.writerow([row["id"], json.dumps(paths), _question(row, config.data), answer])
    write_atomically(out / f"{config.name}.tsv", buffer.getvalue())
    references = out / f"{config.name}-references.json"
    write_references(
        references,
        {  # each window is a video of its own there
            row["id"]: reference_of([as_seen(row, config.data.window_clock)])
            for row in rows.remove_columns("frames")
        },
    )
    model = config.model or "/path/to/merged"
    if Path(model).is_dir():  # VLMEvalKit runs in its own folder
        model = str(Path(model).resolve())
    content = {
        "model": {Path(model).name: {"class": "SmolVLM2", "model_path": model}},
        "data": {config.name: {"class": "CustomVQADataset", "dataset": config.name}},
    }
    write_atomically(out / f"{config.name}.json", json.dumps(content, indent=1) + "\n")
    return {
        "videos": len(rows),
        "table": str(out / f"{config.name}.tsv"),
        "references": str(references),
        "config": str(out / f"{config.name}.json"),
    }


def _question(row: dict[str, Any], keys: DataKeys) -> str:
    times = ", ".join(clock(t) for t in row["times_s"])
    length = clock(round(row["duration_s"]))
    return (
        f"These are frames of one video of {length}, taken at {times}.\n{first_prompt(row, keys)}"
    )
