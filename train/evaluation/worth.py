"""What frames are worth to a model: losses of the reference with a video's own frames, grey ones and another video's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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
from train.batches.survey import TEXT_COLUMNS
from train.evaluation.results import AnswerLoss
from train.inference.answer_loss import Describer
from train.inference.generate import processor_of
from train.inference.identity import model_identity
from train.inference.worth import VERSION, Worth, measured
from train.run.files import read_rows
from train.run.saved import SavedRun
from train.sections import DataKeys


def answer_losses(
    run: SavedRun,
    rows: Dataset,
    given: Sequence[str],
    file: Path,
    *,
    dtype: str,
    batch: int,
    overwrite: bool,
) -> dict[str, AnswerLoss]:
    """By sample, the mean over its rows. Rows that are too long, or tell nothing, are left out. Losses that `file` holds
    of the same model and rows are reused.

    Args:
        given: hash of what each row gives to the model (`train.evaluation.answers.given_to`).

    Raises:
        UserError: the model cannot be loaded, or a loss is not finite.
    """
    texts, processor = rows.select_columns(TEXT_COLUMNS), processor_of(run)
    digest = hashlib.sha256()
    usable = []
    for i, (row, name) in enumerate(zip(texts, given, strict=True)):
        answer = target(events_of(row), row["description"], run.data.target, run.data.clock)
        digest.update(json.dumps([row["id"], name, answer]).encode())
        if _is_told(row, processor, run.data):
            usable.append(i)
    about = {"version": VERSION, **model_identity(run), "dtype": dtype, "rows": digest.hexdigest()}
    lines = read_rows(file)
    done = lines[1:] if lines and lines[0] == about and not overwrite else []
    write_atomically(file, "".join(json.dumps(line) + "\n" for line in (about, *done)))
    found = [Worth(**line) for line in done]
    if len(found) < len(usable):
        describer, told = Describer.load(run, dtype), rows.select(usable)
        found = measured(describer, told, file, found, batch, moves=False)
    of = {one.id: (one.own, one.blank, one.other) for one in found}
    names = rows["id"]
    losses = {}
    for sample, here in rows_of_samples(rows["sample_id"]).items():
        mine = [of[names[i]] for i in here if names[i] in of]
        if mine:
            losses[sample] = AnswerLoss(*np.mean(mine, axis=0).tolist())
    return losses


def _is_told(row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys) -> bool:
    if window_of(row) is not None and not row["events"]:
        return False
    try:
        labels = encode(row, processor, keys).labels
    except TooLong:
        return False
    return sum(label >= 0 for label in labels) > 1  # more than an end
