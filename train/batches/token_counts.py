"""Lengths of samples in tokens, for a checkpoint that need not be loaded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from data.prepared.dataset import Prepared
from train.batches.stream import read_texts
from train.batches.survey import TEXT_COLUMNS, survey
from train.early_checks import check_reachable
from train.model.load import load_processor
from train.sections import DataKeys, ModelKeys


def token_counts(keys: DataKeys, model: str) -> tuple[int, ...]:
    """Tokens, frames included, of every sample that fits, with a checkpoint's processor.

    Raises:
        UserError: no such checkpoint or dataset.
    """
    with TemporaryDirectory() as folder:
        if model == "tiny":
            from train.model import tiny

            model = str(tiny.build(Path(folder) / "base"))
        else:
            check_reachable(ModelKeys(name=model), force=True)
        processor = load_processor(ModelKeys(name=model))
        texts, _ = read_texts(Prepared.open(keys.path), TEXT_COLUMNS)
        return survey(texts, processor, keys, "all").tokens
