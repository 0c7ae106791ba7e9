"""Token and frame counts of a set of rows, and every way in which its samples differ from what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from datasets import Dataset
from tqdm import tqdm
from transformers import SmolVLMProcessor

from data.errors import UserError
from data.prepared.shards import OWN
from data.prepared.summary import own_words
from data.window import window_of
from train.batches.encode import TooLong, encode, holds_marks
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
    reference: bool = False
    """They are compared with those of a frozen copy of the model."""

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
