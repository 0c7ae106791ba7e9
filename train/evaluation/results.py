"""The results of an evaluation: systems, their scores, and figures with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from train.evaluation.intervals import Measure, mean
from train.evaluation.records import Prediction, Problems, Reference
from train.evaluation.scoring import Scored
from train.metrics.shown import better
from train.metrics.tokens import tokenizer_of


@dataclass(frozen=True)
class Timing:
    """Number of frames and seconds of one answer."""

    frames: int
    describe_s: float
    choose_s: float | None


@dataclass(frozen=True)
class AnswerLoss:
    """Losses of a video's reference, in nats a token: with its own frames, grey ones, another video's."""

    own: float
    blank: float
    other: float


@dataclass(frozen=True)
class General:
    """Losses of plain instructions without video (`train.evaluation.general`), one each, in nats a token."""

    own: Sequence[float]
    base: Sequence[float]
    """Of the model that was trained; empty: it was not."""


@dataclass(frozen=True)
class System:
    """A model with a frame policy, or a predictions file, and its predictions."""

    name: str
    answers: Mapping[str, Prediction]
    about: dict[str, Any] = field(default_factory=dict)
    taken: Mapping[str, Timing] = field(default_factory=dict)
    prepared: str | None = None
    """Prepared dataset with the frames it saw."""
    losses: Mapping[str, AnswerLoss] = field(default_factory=dict)
    general: General | None = None


@dataclass(frozen=True)
class Evaluation:
    """Systems on the same videos, scored."""

    references: Mapping[str, Reference]
    systems: Sequence[System]
    scored: Sequence[Scored]
    problems: Problems
    text: str
    compat: bool
    timed: bool
    judge: dict[str, Any] = field(default_factory=dict)
    """The judge model and its prompts; empty: no judge."""

    @property
    def tokenizer(self) -> str:
        """How the texts were tokenized, in words for the report."""
        return tokenizer_of(self._texts()) + (
            ", ASCII alone in SODA and ActivityNet's scores" if self.compat else ""
        )

    def _texts(self) -> Iterator[str]:
        for truth in self.references.values():
            yield truth.text(self.timed)
        for system in self.systems:
            yield from (prediction.text for prediction in system.answers.values())


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over videos."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Summary:
    """All figures of all systems, and their differences from the first system."""

    values: tuple[dict[str, Figure], ...]
    differences: tuple[dict[str, Figure], ...]
    """Paired differences over videos, for the second and every later system."""


def measures_of(losses: Mapping[str, AnswerLoss], ids: Sequence[str]) -> list[Measure]:
    """The three losses, and what frames are worth, of every video; none if nothing was measured."""
    if not losses:
        return []
    unknown = AnswerLoss(float("nan"), float("nan"), float("nan"))
    every = [losses.get(name, unknown) for name in ids]
    columns = {
        "frames_worth": [one.blank - one.own for one in every],
        "answer_loss": [one.own for one in every],
        "answer_loss_blank": [one.blank for one in every],
        "answer_loss_other": [one.other for one in every],
    }
    return [mean(name, np.array(values), better(name)) for name, values in columns.items()]
