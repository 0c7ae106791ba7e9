"""A prepared dataset for the trainer: split, surveyed, and encoded when it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset
from tqdm import tqdm
from transformers import SmolVLMProcessor

from data.errors import UserError
from data.prepared.dataset import Prepared
from data.prepared.shards import GROUP_ROWS, OWN
from data.prepared.summary import own_words
from data.window import window_of
from train.batches.encode import TooLong, decode_frames, encode, frame_size_px, holds_marks
from train.batches.features import Features
from train.batches.split import Split, split
from train.batches.stream import ROW, Pictures, read_texts, window, with_pictures
from train.sections import DataKeys

TEXT_COLUMNS = [
    "id",
    "sample_id",
    "video_id",
    "times_s",
    "duration_s",
    "start_s",
    "end_s",
    "events",
    "description",
    "prompt",
    "system",
    "context",
    "turns",
    "ranks",
]


@dataclass(frozen=True)
class Survey:
    """Token and frame counts of a whole set, found without decoding a frame."""

    usable: tuple[int, ...]
    """Positions of the samples that fit."""
    tokens: tuple[int, ...]
    """Length of each usable sample."""
    frames: tuple[int, ...]
    """Frames kept of each usable sample."""
    answers: tuple[int, ...]
    """Supervised tokens of each usable sample."""
    silent: tuple[int, ...]
    """Positions of windows of long videos in which no event is told: they are not learned from."""
    too_long: tuple[str, ...]
    frames_dropped: int
    samples_shortened: int
    fell_back: int
    unmarked: int
    """Usable samples whose texts contained special tokens such as `<image>`; these lost their brackets."""
    own_words: Mapping[str, int]
    """Usable samples with a prompt, system or context text of their own."""
    contexts_cut: int = 0
    """Usable samples whose context was cut to `data.context_tokens`."""
    branches: int = 1
    """Answers to each sample's prompt, in one row."""

    def lines(self, keys: DataKeys) -> list[str]:
        """Lines to print: lengths first, then every way in which samples differ from the stored rows."""
        count = len(self.usable)
        lengths = sorted(self.tokens)
        shown = [
            f"{count} samples, {lengths[0]}–{lengths[-1]} tokens (median {lengths[count // 2]}), "
            f"{sum(self.answers) / count:.0f} supervised on average"
        ]
        if self.silent:
            shown.append(f"{len(self.silent)} windows left out: no event of their video is in them")
        if self.fell_back:
            other = "description" if keys.target == "timeline" else "timeline"
            shown.append(f"{self.fell_back} of them have no {keys.target} and use their {other}")
        if self.unmarked:
            shown.append(
                f"{self.unmarked} of them contain special tokens, such as <image>, as text: these lost their brackets"
            )
        if self.own_words:
            shown.append(
                f"some bring words of their own and are asked with these: {own_words(self.own_words)}"
            )
        if self.contexts_cut:
            shown.append(
                f"{self.contexts_cut} contexts cut to data.context_tokens={keys.context_tokens}"
            )
        if self.frames_dropped:
            shown.append(
                f"{self.frames_dropped} frames dropped from {self.samples_shortened} samples to fit "
                f"data.max_tokens={keys.max_tokens}"
            )
        if self.too_long:
            some = ", ".join(self.too_long[:3])
            shown.append(
                f"{len(self.too_long)} samples dropped: text alone exceeds "
                f"data.max_tokens={keys.max_tokens} ({some}{', …' if len(self.too_long) > 3 else ''})"
            )
        return shown


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
    train, held, told = everything.select(parts.train), None, None
    learnable: list[int] = []
    found = survey(train, processor, keys, "training")
    train = train.select(found.usable)
    eval_tokens: tuple[int, ...] = ()
    if parts.held:
        held = everything.select(parts.held)
        seen = survey(held, processor, keys, "evaluation")
        # a whole video is described with the windows in which nothing is told
        shown = sorted((*seen.usable, *seen.silent))
        held, eval_tokens = held.select(shown), seen.tokens
        learnable = [shown.index(i) for i in seen.usable]
        told = held.select(learnable)
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


def survey(dataset: Dataset, processor: SmolVLMProcessor, keys: DataKeys, name: str) -> Survey:
    """Encode every text once and count its tokens and frames.

    Raises:
        UserError: nothing to train on, or a sample without a supervised token.
    """
    usable: list[int] = []
    tokens: list[int] = []
    frames: list[int] = []
    answers: list[int] = []
    silent: list[int] = []
    too_long: list[str] = []
    own: Counter[str] = Counter()
    dropped = shortened = fell_back = unmarked = contexts_cut = 0
    texts = dataset.select_columns(TEXT_COLUMNS)
    for i, row in enumerate(tqdm(texts, desc=f"tokens of {name}", disable=len(texts) < 200)):
        if window_of(row) is not None and not row["events"]:
            silent.append(i)
            continue
        try:
            encoded = encode(row, processor, keys)
        except TooLong:
            too_long.append(row["id"])
            continue
        answer_tokens = sum(label >= 0 for label in encoded.labels)
        if answer_tokens <= 1:  # only <end_of_utterance>: an empty answer
            raise UserError(
                f"sample {row['id']}: no supervised token, its answer is empty; correct the row and prepare again"
            )
        usable.append(i)
        tokens.append(len(encoded.input_ids))
        frames.append(len(encoded.kept))
        answers.append(answer_tokens)
        fell_back += encoded.fell_back
        contexts_cut += encoded.context_cut > 0
        unmarked += holds_marks(row, processor, keys)
        own.update(name for name in OWN if row[name])
        missing = len(row["times_s"]) - len(encoded.kept)
        dropped += missing
        shortened += missing > 0
    if not usable:
        raise UserError(
            f"data.path={keys.path}: {len(texts)} {name} samples, none usable ({len(too_long)} too long for data.max_tokens={keys.max_tokens})"
        )
    return Survey(
        tuple(usable),
        tuple(tokens),
        tuple(frames),
        tuple(answers),
        tuple(silent),
        tuple(too_long),
        dropped,
        shortened,
        fell_back,
        unmarked,
        {name: own[name] for name in OWN if own[name]},
        contexts_cut,
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
        rows = [
            dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        if self.pictures is not None:
            for row in rows:
                row["frames"] = [{"bytes": jpeg} for jpeg in self.pictures.of(row[ROW])]
        size_px = frame_size_px(self.processor)
        samples = [
            to_sample(row, self.processor, self.keys, size_px, self.features) for row in rows
        ]
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
