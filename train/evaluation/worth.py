"""What frames are worth to a model: losses of the reference with a video's own frames, grey ones and another video's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import SmolVLMProcessor

from data.sample import events_of
from data.storage import write_atomically
from data.target import target
from data.window import rows_of_samples, window_of
from train.batches.encode import TooLong, encode
from train.evaluation.answers import given_to
from train.evaluation.results import AnswerLoss
from train.inference.answer_loss import Describer
from train.inference.generate import processor_of
from train.inference.identity import model_identity
from train.inference.worth import Worth, measured
from train.run.files import read_rows
from train.run.saved import SavedRun
from train.sections import DataKeys


def answer_losses(
    run: SavedRun, rows: Dataset, file: Path, *, dtype: str, batch: int, overwrite: bool
) -> dict[str, AnswerLoss]:
    """By sample, the mean over its rows. Rows that are too long, or tell nothing, are left out. Losses that `file` holds
    of the same model and rows are reused.

    Raises:
        UserError: the model cannot be loaded, or a loss is not finite.
    """
    given = hashlib.sha256()
    for row in rows:
        answer = target(events_of(row), row["description"], run.data.target, run.data.clock)
        given.update(json.dumps([row["id"], given_to(row, run.data), answer]).encode())
    about = {**model_identity(run), "dtype": dtype, "rows": given.hexdigest()}
    lines = read_rows(file)
    done = lines[1:] if lines and lines[0] == about and not overwrite else []
    write_atomically(file, "".join(json.dumps(line) + "\n" for line in (about, *done)))
    found = [Worth(**line) for line in done]
    processor = processor_of(run)
    told = rows.select([i for i, row in enumerate(rows) if _is_told(row, processor, run.data)])
    if len(found) < len(told):
        describer = Describer.load(run, dtype)
        found = measured(describer, told, file, found, batch, moves=False)
    of = {one.id: one for one in found}
    names = rows["id"]
    losses = {}
    for sample, here in rows_of_samples(rows["sample_id"]).items():
        mine = [of[names[i]] for i in here if names[i] in of]
        if mine:
            losses[sample] = AnswerLoss(
                *(
                    float(np.mean([asdict(one)[part] for one in mine]))
                    for part in ("own", "blank", "other")
                )
            )
    return losses


def _is_told(row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys) -> bool:
    if window_of(row) is not None and not row["events"]:
        return False
    try:
        labels = encode(row, processor, keys).labels
    except TooLong:
        return False
    return sum(label >= 0 for label in labels) > 1  # more than an end
