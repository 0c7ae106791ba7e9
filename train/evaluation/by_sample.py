"""References and predictions of samples from the rows of a prepared dataset, of which a long video has several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from datasets import Dataset

from data.window import rows_of_samples
from train.chat import Picture
from train.evaluation.records import Prediction, Reference, parse_prediction, reference_of
from train.inference.whole import put_together
from train.sections import DataKeys

SHOWN = ("sample_id", "start_s", "end_s", "duration_s", "events", "description")
"""Columns that tell what a row shows and what happens there."""


def references_of(rows: Dataset) -> dict[str, Reference]:
    """The reference of each sample, in order."""
    texts = rows.select_columns(list(SHOWN))
    places = rows_of_samples(rows["sample_id"])
    return {name: reference_of([texts[i] for i in here]) for name, here in places.items()}


def predictions_of(
    rows: Dataset, texts: Sequence[str], cut: Sequence[bool], keys: DataKeys
) -> dict[str, Prediction]:
    """The prediction for each sample from the texts that were generated for its rows."""
    shown = rows.select_columns(["sample_id", "start_s", "end_s", "duration_s"])
    found = {}
    for name, here in rows_of_samples(rows["sample_id"]).items():
        any_cut = any(cut[i] for i in here)
        if len(here) == 1:
            found[name] = parse_prediction(texts[here[0]], cut=any_cut)
            continue
        whole = put_together([shown[i] for i in here], [texts[i] for i in here], keys)
        found[name] = Prediction(whole.text, whole.events, whole.unusable, any_cut)
    return found


def pictures_of(
    rows: Dataset, names: Collection[str], count: int
) -> dict[str, tuple[Picture, ...]]:
    """Up to `count` frames of each of these samples, evenly among those that its rows hold."""
    times_s, found = rows["times_s"], {}
    for name, here in rows_of_samples(rows["sample_id"]).items():
        if name not in names:
            continue
        every = [(i, k) for i in here for k in range(len(times_s[i]))]
        places = np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)
        frames = {i: rows[i]["frames"] for i in sorted({every[p][0] for p in places})}
        chosen = [every[p] for p in places]
        found[name] = tuple((times_s[i][k], frames[i][k]["bytes"]) for i, k in chosen)
    return found


def summed(rows: Dataset, values: Sequence[float]) -> Mapping[str, float]:
    """The sum of a value over each sample's rows."""
    places = rows_of_samples(rows["sample_id"])
    return {name: sum(values[i] for i in here) for name, here in places.items()}
