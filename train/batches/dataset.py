"""A prepared dataset for the trainer: split, surveyed, and encoded when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset
from transformers import SmolVLMProcessor

from data.prepared.dataset import Prepared
from data.prepared.marks import read_marks
from data.prepared.shards import GROUP_ROWS
from train.batches.encode import encode
from train.batches.features import Features
from train.batches.frames import decode_frames, frame_size_px
from train.batches.split import Split, split, without
from train.batches.stream import ROW, Pictures, read_texts, window, with_pictures
from train.batches.survey import TEXT_COLUMNS, Survey, survey
from train.sections import DataKeys


@dataclass(frozen=True)
class Sets:
    """The training and held-out samples of a run, encoded when they are read."""

    train: Dataset
    evaluation: Dataset | None
    survey: Survey
    """Of the training samples."""
    split: Split
    """Of all rows, including held-out rows that are too long to be used."""
    eval_tokens: tuple[int, ...] = ()
    """Length of each sample of `evaluation`."""
    held: Dataset | None = None
    """The rows of `evaluation`, not encoded."""
    groups: tuple[int, ...] | None = None
    """With `data.stream`: the row group of each training sample."""
    starts: tuple[int, ...] = ()
    """With `data.features`: the first row of each row group."""


def load_sets(dataset: Prepared, keys: DataKeys, processor: SmolVLMProcessor) -> Sets:
    """Read, split and survey a prepared dataset.

    Raises:
        UserError: no sample is usable.
    """
    if keys.stream or keys.features:
        everything, groups = read_texts(dataset, TEXT_COLUMNS)
    else:
        everything, groups = dataset.rows(), None
    parts = split(everything, keys.eval_share, keys.eval_max)
    parts = without(parts, everything, read_marks(keys.marks, "data.marks").dropped)
    train = everything.select(parts.train)
    found = survey(train, processor, keys, "training")
    train = train.select(found.usable)
    held, learnable, eval_tokens = held_out(everything, parts, processor, keys)
    told = None if held is None else held.select(learnable)
    if groups is None:
        evaluation = None if told is None else encoded(told, processor, keys)
        learned = encoded(train, processor, keys)
        return Sets(learned, evaluation, found, parts, eval_tokens, held)
    pictures = Pictures(groups, keep=1 + window(keys.shuffle_buffer, GROUP_ROWS))
    if keys.features:
        # `with_features` attaches them once the model is loaded; held-out frames may be described
        if held is not None:
            held = with_pictures(held, Pictures(groups, keep=1))
        return Sets(train, told, found, parts, eval_tokens, held, starts=groups.starts)
    evaluation = None
    if held is not None:
        held = with_pictures(held, pictures)
        evaluation = encoded(held.select(learnable), processor, keys)
    return Sets(
        encoded(train, processor, keys, pictures),
        evaluation,
        found,
        parts,
        eval_tokens,
        held,
        groups=tuple(map(groups.of, train[ROW])),
    )


def held_out(
    rows: Dataset, parts: Split, processor: SmolVLMProcessor, keys: DataKeys
) -> tuple[Dataset | None, list[int], tuple[int, ...]]:
    """The held-out rows that fit into a prompt (None: nothing is held out), the places of those of which something
    is told, and the lengths of these."""
    if not parts.held:
        return None, [], ()
    held = rows.select(parts.held)
    seen = survey(held, processor, keys, "evaluation")
    # a whole video is described with the windows in which nothing is told
    shown = sorted((*seen.usable, *seen.silent))
    return held.select(shown), [shown.index(i) for i in seen.usable], seen.tokens


def with_features(
    sets: Sets, features: Features, processor: SmolVLMProcessor, keys: DataKeys
) -> Sets:
    """The same samples with cached features in place of frames."""
    held = sets.evaluation
    return replace(
        sets,
        train=encoded(sets.train, processor, keys, features=features),
        evaluation=None if held is None else encoded(held, processor, keys, features=features),
    )


def encoded(
    dataset: Dataset,
    processor: SmolVLMProcessor,
    keys: DataKeys,
    pictures: Pictures | None = None,
    features: Features | None = None,
) -> Dataset:
    """The dataset with a transform that encodes rows and decodes frames when they are read, in the
    loader's workers. `pictures`: source of frames that are not in the rows. `features`: replace frames."""
    return dataset.with_transform(Encoder(processor, keys, pictures, features))


@dataclass(frozen=True)
class Encoder:
    """Prepared rows → samples, as a transform of `datasets`: columns in, columns out. It is a class at
    module level, because loader workers that are not forked receive it by pickling."""

    processor: SmolVLMProcessor
    keys: DataKeys
    pictures: Pictures | None = None
    features: Features | None = None

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = rows_of(batch)
        if self.pictures is not None:
            for row in rows:
                row["frames"] = [{"bytes": jpeg} for jpeg in self.pictures.of(row[ROW])]
        size_px = frame_size_px(self.processor)
        samples = [
            to_sample(row, self.processor, self.keys, size_px, self.features) for row in rows
        ]
        return columns_of(samples)


def rows_of(batch: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of a batch of `datasets`, which comes by columns."""
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def columns_of(samples: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The reverse of `rows_of`."""
    return {key: [s[key] for s in samples] for key in samples[0]}


def to_sample(
    row: dict[str, Any],
    processor: SmolVLMProcessor,
    keys: DataKeys,
    size_px: int,
    features: Features | None = None,
) -> dict[str, Any]:
    """A prepared row → a sample for `collate`."""
    text = encode(row, processor, keys)
    sample = {"id": text.id, "input_ids": text.input_ids, "labels": text.labels}
    if features is not None:
        return {**sample, "features": features.of(row[ROW])[text.kept]}
    jpegs = [row["frames"][i]["bytes"] for i in text.kept]
    return {**sample, "frames": decode_frames(jpegs, size_px)}
