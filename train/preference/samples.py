"""Pairs as samples for a trainer: the answers to a row, with its frames, encoded when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from datasets import Dataset
from tqdm import tqdm
from transformers import SmolVLMProcessor

from data.errors import UserError
from data.prepared.dataset import Prepared
from train.batches.dataset import (
    Sets,
    columns_of,
    encoded,
    held_out,
    load_sets,
    rows_of,
)
from train.batches.encode import IGNORED, TooLong, encode_answers
from train.batches.frames import decode_frames, frame_size_px
from train.batches.split import split
from train.batches.survey import TEXT_COLUMNS, Survey
from train.console import say
from train.inference.generate import generation_prompt
from train.preference.pairs import Pair, Pairs
from train.preference.rewards import true_of
from train.sections import DataKeys


def load_pairs(
    dataset: Prepared,
    keys: DataKeys,
    processor: SmolVLMProcessor,
    *,
    pairs: Pairs,
    best_only: bool,
    watched: str | None = None,
) -> Sets:
    """The pairs of a prepared dataset, split as for SFT: those of held-out videos are evaluated on.

    Args:
        best_only: the better answer alone, in the form of samples for SFT (and held-out samples are references, as
            there); else trees (`train.batches.trees`).
        watched: a key that asks for held-out pairs, with its value.

    Raises:
        UserError: no pair is usable.
    """
    rows = dataset.rows()
    parts = split(rows, keys.eval_share, keys.eval_max)
    places = {name: i for i, name in enumerate(rows["id"])}
    known = [pair for pair in pairs.pairs if pair.id in places]
    apart = set(parts.held)
    of_train = [pair for pair in known if places[pair.id] not in apart]
    make = partial(_samples, rows, places, processor, keys, best_only=best_only)
    train, survey = make(of_train)
    if not survey.usable:
        raise UserError(
            f"pairs={pairs.folder}: {len(known)} of {len(pairs.pairs)} answer rows of {dataset.path}, {len(of_train)} of "
            "them videos that are not held out, and none fits into data.max_tokens"
        )
    held, told, lengths = held_out(rows, parts, processor, keys)
    if best_only:
        references = None if held is None else encoded(held.select(told), processor, keys)
        return Sets(train, references, survey, parts, lengths, held)
    evaluation, seen = make([pair for pair in known if places[pair.id] in apart])
    if not seen.usable and parts.held:
        if watched is not None:
            raise UserError(
                f"{watched}: no pair is of a held-out video, so nothing is evaluated while training; sample with "
                "data.part=all, or leave it out"
            )
        say("note: no pair is of a held-out video, so no loss of pairs is measured on such")
    return Sets(train, evaluation if seen.usable else None, survey, parts, seen.tokens, held)


def _samples(
    rows: Dataset,
    places: dict[str, int],
    processor: SmolVLMProcessor,
    keys: DataKeys,
    pairs: Sequence[Pair],
    *,
    best_only: bool,
) -> tuple[Dataset, Survey]:
    """The pairs that fit, encoded when they are read, and what they are like."""
    texts = rows.select_columns(TEXT_COLUMNS)
    usable: list[int] = []
    tokens, frames, answers, too_long = [], [], [], []
    dropped = shortened = 0
    for i, pair in enumerate(tqdm(pairs, desc="tokens of pairs", disable=len(pairs) < 200)):
        row = texts[places[pair.id]]
        said = (pair.chosen,) if best_only else (pair.chosen, pair.rejected)
        try:
            prompt, each, kept = encode_answers(row, said, processor, keys)
        except TooLong:
            too_long.append(pair.id)
            continue
        usable.append(i)
        answers.append(sum(map(len, each)))
        tokens.append(len(prompt) + answers[-1])
        frames.append(len(kept))
        missing = len(row["times_s"]) - len(kept)
        dropped, shortened = dropped + missing, shortened + (missing > 0)
    chosen = [pairs[i] for i in usable]
    table = Dataset.from_dict(
        {
            "place": [places[pair.id] for pair in chosen],
            "chosen": [pair.chosen for pair in chosen],
            "rejected": [pair.rejected for pair in chosen],
        }
    )
    survey = Survey(
        usable=tuple(usable),
        tokens=tuple(tokens),
        frames=tuple(frames),
        answers=tuple(answers),
        silent=(),
        too_long=tuple(too_long),
        frames_dropped=dropped,
        samples_shortened=shortened,
        fell_back=0,
        unmarked=0,
        own_words={},
        branches=1 if best_only else 2,
        reference=not best_only,
    )
    return table.with_transform(PairEncoder(rows, processor, keys, best_only)), survey


def load_prompts(
    dataset: Prepared, keys: DataKeys, processor: SmolVLMProcessor, *, answers: int, longest: int
) -> Sets:
    """The rows of a prepared dataset as prompts, with what is true of them, split and surveyed as for SFT.

    Args:
        answers: to each prompt, of `longest` tokens at most.
    """
    sets = load_sets(dataset, keys, processor)
    found, more = sets.survey, answers * longest
    pairs = zip(found.tokens, found.answers, strict=True)
    survey = replace(
        found,
        tokens=tuple(tokens - own + more for tokens, own in pairs),
        answers=(more,) * len(found.usable),
        branches=answers,
    )
    encoder = PromptEncoder(processor, keys)
    held = sets.evaluation
    return replace(
        sets,
        train=sets.train.with_transform(encoder),
        evaluation=None if held is None else held.with_transform(encoder),
        survey=survey,
    )


@dataclass(frozen=True)
class PromptEncoder:
    """Prepared rows → prompts with their frames, and what is true of them, as a transform of `datasets`."""

    processor: SmolVLMProcessor
    keys: DataKeys

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return columns_of([self._prompt(row) for row in rows_of(batch)])

    def _prompt(self, row: dict[str, Any]) -> dict[str, Any]:
        prompt = generation_prompt(row, self.processor, self.keys)
        return {**prompt, "true": true_of(row, self.keys)}


@dataclass(frozen=True)
class PairEncoder:
    """(place of a row, answers to it) → samples, as a transform of `datasets`: columns in, columns out."""

    rows: Dataset
    processor: SmolVLMProcessor
    keys: DataKeys
    best_only: bool

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        make: Callable[..., dict[str, Any]] = self._answer if self.best_only else self._tree
        columns = (batch["place"], batch["chosen"], batch["rejected"])
        return columns_of([make(*one) for one in zip(*columns, strict=True)])

    def _tree(self, place: int, chosen: str, rejected: str) -> dict[str, Any]:
        row = self.rows[place]
        prompt, each, kept = encode_answers(row, (chosen, rejected), self.processor, self.keys)
        return {
            "id": row["id"],
            "prompt_ids": prompt,
            "answer_ids": each,
            "frames": self._frames(row, kept),
            # TRL looks for it, and then leaves the rows to us
            "images": [],
        }

    def _answer(self, place: int, chosen: str, rejected: str) -> dict[str, Any]:
        row = self.rows[place]
        prompt, (answer,), kept = encode_answers(row, (chosen,), self.processor, self.keys)
        return {
            "id": row["id"],
            "input_ids": prompt + answer,
            "labels": [IGNORED] * len(prompt) + answer,
            "frames": self._frames(row, kept),
        }

    def _frames(self, row: dict[str, Any], kept: Sequence[int]) -> Any:
        jpegs = [row["frames"][i]["bytes"] for i in kept]
        return decode_frames(jpegs, frame_size_px(self.processor))
