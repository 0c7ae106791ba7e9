"""A judge model behind an OpenAI-compatible address. Its answers are cached on disk."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.errors import UserError
from train.chat import Chat, Refused
from train.console import say
from train.evaluation.intervals import Measure, mean
from train.evaluation.records import Prediction, Reference
from train.metrics.config import JudgeKeys
from train.metrics.judge import PROMPTS, JudgeCase, judge, questions, readable
from train.metrics.shown import better

CHARACTERS_A_TOKEN = 4
ANSWER_TOKENS = 40
"""Length of a typical answer, for the estimate."""
MOST_ANSWER_TOKENS = 512


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
        self._chat = Chat(
            keys.base_url,
            timeout_s=keys.timeout_s,
            extra="judge",
            keys=("judge.base_url", "judge.model"),
        )
        self._file = Path(keys.cache)
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lines = (
                self._file.read_text(encoding="utf-8").split("\n")[:-1]
                if self._file.exists()
                else []
            )
        except OSError as error:
            raise UserError(f"judge.cache={keys.cache}: {error.strerror}") from None
        for line in lines:
            try:
                row = json.loads(line)
                if readable(row["answer"]):  # an unreadable answer is asked again
                    self._known[row["question"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # a line cut in half by a kill: asked again

    def name(self, prompt: str) -> str:
        """Cache key of a question to this judge."""
        text = json.dumps([self._keys.base_url, self._keys.model, PROMPTS, prompt])
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """The questions that are not in the cache, each once."""
        return [p for p in dict.fromkeys(prompts) if self.name(p) not in self._known]

    def ask(self, prompts: Sequence[str]) -> list[str]:
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
        return [self._known[self.name(p)] for p in prompts]

    def _ask(self, prompt: str) -> None:
        question = [{"role": "user", "content": prompt}]
        try:
            reply = self._chat.ask(str(self._keys.model), question, max_tokens=MOST_ANSWER_TOKENS)
        except Refused as error:
            raise UserError(f"{error}; the same command continues") from None
        answer = reply.text
        row = {"question": self.name(prompt), "answer": answer}
        with self._lock:
            self._known[row["question"]] = answer
            if not readable(answer):
                return
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())


def cases(
    references: Mapping[str, Reference], answers: Mapping[str, Prediction], timed: bool
) -> list[JudgeCase]:
    """The judge's case for every video, in order."""
    rows = []
    for name, reference in references.items():
        prediction = answers.get(name, Prediction(""))
        rows.append(
            JudgeCase(
                reference.events if timed else (),
                reference.text(timed),
                prediction.events,
                prediction.words_only,
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
    into = sum(map(len, missing)) // CHARACTERS_A_TOKEN
    out = len(missing) * ANSWER_TOKENS
    line = (
        f"judge {keys.model}: about {len(missing):,} questions ({len(set(asked)) - len(missing):,} more are in "
        f"{keys.cache}), {into / 1000:,.0f} k tokens asked, {out / 1000:,.0f} k answered"
    )
    if keys.price_in is not None or keys.price_out is not None:
        cost = (into * (keys.price_in or 0) + out * (keys.price_out or 0)) / 1e6
        line += f", about {cost:,.2f} at the prices given"
    if len(missing) > keys.max_calls:
        raise UserError(
            f"{line}; more than judge.max_calls={keys.max_calls}: raise it, or lower data.limit"
        )
    return line


def judged(
    keys: JudgeKeys,
    references: Mapping[str, Reference],
    systems: Sequence[Mapping[str, Prediction]],
    timed: bool,
    max_s: float | None = None,
) -> tuple[list[list[Measure]], dict[str, Any]]:
    """The judge's measures of every system, and the record of the judge for `scores.json`.

    Raises:
        UserError: as `Judge` and `estimate`.
    """
    one = Judge(keys, max_s)
    rows = [cases(references, answers, timed) for answers in systems]
    say(estimate(one, keys, rows))
    measures, unreadable = [], 0
    for row in rows:
        found, lost = judge(row, one.ask)
        unreadable += lost
        columns = {
            part: np.array([getattr(f, part) for f in found])
            for part in ("recall", "precision", "contradicted", "soda_c")
        }
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
        "model": keys.model,
        "base_url": keys.base_url,
        "prompts": PROMPTS,
        "unreadable_answers": unreadable,
    }
    return measures, about
