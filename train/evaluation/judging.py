"""A judge model behind an OpenAI-compatible address. Its answers are cached on disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tqdm import tqdm

from data.errors import UserError
from train.answered import Answered
from train.chat import Chat, Picture, Question, Refused
from train.console import say
from train.cost import CHARACTERS_A_TOKEN, PICTURE_TOKENS, priced
from train.evaluation.intervals import Measure, mean
from train.evaluation.records import Prediction, Reference
from train.metrics.config import JudgeKeys
from train.metrics.judge import (
    LOOK_VERSION,
    PROMPTS,
    RELATIONS,
    JudgeCase,
    judge,
    questions,
    readable,
)
from train.metrics.shown import better

ANSWER_TOKENS = 40
"""Length of a typical answer, for the estimate."""
MOST_ANSWER_TOKENS = 512
PARTS = (
    "recall", "precision", "contradicted", "soda_c", "seen_precision", "seen_contradicted", "seen_reference",
)  # fmt: skip
"""What is made of a judge's answers (`train.metrics.judge.Judged`)."""


class Judge:
    """Answers of one judge model, from the cache if the question was asked before."""

    def __init__(self, keys: JudgeKeys, max_s: float | None = None):
        """
        Args:
            max_s: seconds from now after which answers are no longer waited for.

        Raises:
            UserError: the openai client is not installed, or the cache cannot be used.
        """
        assert keys.model is not None
        self._keys = keys
        self._end = None if max_s is None else time.monotonic() + max_s
        chat = Chat(
            keys.base_url,
            timeout_s=keys.timeout_s,
            extra="judge",
            keys=("judge.base_url", "judge.model"),
        )
        self._answered = Answered(
            chat,
            keys.model,
            Path(keys.cache),
            about=lambda question: (keys.base_url, keys.model, _words(question)),
            readable=lambda _, answer: readable(answer),
            max_tokens=MOST_ANSWER_TOKENS,
            key="judge.cache",
        )

    def missing(self, prompts: Sequence[Question]) -> list[Question]:
        """The questions that are not in the cache, each once."""
        return [p for p in dict.fromkeys(prompts) if self._answered.known(p) is None]

    def ask(self, prompts: Sequence[Question]) -> list[str]:
        """The answers, in the order of the questions.

        Raises:
            UserError: the server cannot be reached or refuses; answers received so far stay cached.
        """
        missing = self.missing(prompts)
        if missing:
            left = None if self._end is None else max(0.0, self._end - time.monotonic())
            pool = ThreadPoolExecutor(self._keys.workers)
            try:
                work = pool.map(self._ask, missing, timeout=left)
                for _ in tqdm(work, desc="judge", total=len(missing), unit="question"):
                    pass
            except TimeoutError:
                raise UserError(
                    f"judge.model={self._keys.model}: not done with {len(missing)} questions in the time allowed"
                ) from None
            finally:  # do not wait for requests still running
                pool.shutdown(wait=False, cancel_futures=True)
        return [self._answered.ask(p) for p in prompts]

    def _ask(self, question: Question) -> None:
        try:
            self._answered.ask(question)
        except Refused as error:
            raise UserError(f"{error}; the same command continues") from None


def _words(question: Question) -> str:
    """The version of the words that ask it."""
    return PROMPTS if isinstance(question, str) else LOOK_VERSION


def cases(
    references: Mapping[str, Reference],
    answers: Mapping[str, Prediction],
    timed: bool,
    pictures: Mapping[str, tuple[Picture, ...]] = MappingProxyType({}),
) -> list[JudgeCase]:
    """The judge's case for every video, in order. `pictures`: frames of each video that it is sent."""
    rows = []
    for name, reference in references.items():
        prediction = answers.get(name, Prediction(""))
        rows.append(
            JudgeCase(
                reference.events if timed else (),
                reference.text(timed),
                prediction.events,
                prediction.words_only,
                pictures.get(name, ()),
            )
        )
    return rows


def estimate(judge: Judge, keys: JudgeKeys, systems: Sequence[Sequence[JudgeCase]]) -> str:
    """One line on what the judge will be asked, and its price, before anything is asked.

    Raises:
        UserError: there are more questions than `judge.max_calls`.
    """
    asked = [q for rows in systems for q in questions(rows)]
    missing = judge.missing(asked)
    sent = sum(len(q.pictures) for q in missing if not isinstance(q, str))
    texts = [q if isinstance(q, str) else q.text for q in missing]
    into = sum(map(len, texts)) // CHARACTERS_A_TOKEN + sent * PICTURE_TOKENS
    out = len(missing) * ANSWER_TOKENS
    line = (
        f"judge {keys.model}: about {len(missing):,} questions ({len(set(asked)) - len(missing):,} more are in "
        f"{keys.cache}), {into / 1000:,.0f} k tokens asked, {out / 1000:,.0f} k answered"
    )
    if sent:
        line += f", {sent:,} pictures among them at {PICTURE_TOKENS} tokens each"
    calls, instead = len(missing), "lower data.limit"
    return priced(line, keys, "judge", calls=calls, into=into, out=out, instead=instead)


def judged(
    keys: JudgeKeys,
    references: Mapping[str, Reference],
    systems: Sequence[Mapping[str, Prediction]],
    timed: bool,
    max_s: float | None = None,
    pictures: Mapping[str, tuple[Picture, ...]] = MappingProxyType({}),
) -> tuple[list[list[Measure]], dict[str, Any]]:
    """The judge's measures of every system, and the record of the judge for `scores.json`.

    Raises:
        UserError: as `Judge` and `estimate`.
    """
    if keys.frames and not pictures:
        raise UserError(
            f"judge.frames={keys.frames}: there are no frames of these videos; give data.path"
        )
    one = Judge(keys, max_s)
    rows = [cases(references, answers, timed, pictures) for answers in systems]
    say(estimate(one, keys, rows))
    measures, unreadable = [], 0
    verdicts: list[tuple[str, str]] = []
    for row in rows:
        found, lost = judge(row, one.ask)
        unreadable += lost
        verdicts += [pair for f in found for pair in f.verdicts]
        columns = {part: np.array([getattr(f, part) for f in found]) for part in PARTS}
        measures.append(
            [
                mean(f"judge_{part}", values, better(f"judge_{part}"))
                for part, values in columns.items()
                if not np.isnan(values).all()
            ]
        )
    if unreadable:
        say(f"note: {unreadable} answers of the judge could not be read; they are left out")
    about = {
        **({"agreement": agreement(verdicts)} if keys.frames else {}),
        "model": keys.model,
        "base_url": keys.base_url,
        "prompts": PROMPTS,
        "unreadable_answers": unreadable,
    }
    return measures, about


def agreement(verdicts: Sequence[tuple[str, str]]) -> dict[str, float]:
    """How far the judge that reads the reference and the one that sees frames agree on predicted events: the share, and
    Cohen's kappa (1960), which is 0 where they agree by chance. Prints it."""
    if not verdicts:
        return {"events": 0}
    table = np.zeros((len(RELATIONS), len(RELATIONS)))
    for read, seen in verdicts:
        table[RELATIONS.index(read), RELATIONS.index(seen)] += 1
    table /= len(verdicts)
    share, chance = float(np.trace(table)), float(table.sum(0) @ table.sum(1))
    kappa = (share - chance) / (1 - chance) if chance < 1 else 1.0
    say(
        f"the judge with frames agrees with the one that reads the reference on {share:.0%} of "
        f"{len(verdicts):,} events (kappa {kappa:.2f})"
    )
    return {"events": len(verdicts), "share": share, "kappa": kappa}
