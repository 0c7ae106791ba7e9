"""Degenerate answers: repetition, loops, recited prompts, empty and cut answers.

A falling loss does not show them: a model that repeats one line for ever, or recites the frame times
of its prompt, can have a very small loss.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from train.metrics.tokens import MOST_WORDS, Words, ngrams, spaced

FLAGS = {
    "empty": "nothing was said",
    "no times": "not one usable time in an answer that should have some",
    "loop": "eight words in a row, or a whole sentence, said three times or more",
    "echo": "recites the prompt (“Frame from 00:04”)",
    "cut": "ran into the limit of new tokens",
    "very long": f"more than {MOST_WORDS} words",
    "same as others": "word for word what is said of three other videos or more",
}
"""Flag → what is wrong with the answer. A closed list, so that rates of two models can be compared."""
LOOP_WORDS = 8
LOOP_TIMES = 3
SENTENCE_WORDS = 3
_ECHO = re.compile(r"frame from \d{1,2}:\d\d|provided the following series of", re.I)
_SENTENCE = re.compile(r"[.!?。！？؟।\n]+")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\p{Cf}]+(?:['’]\w+)?")
TIMES = re.compile(r"\d{1,4}(?::\d{1,2}){1,2}(?:\.\d+)?")
"""A time on a clock; a point in it ends no sentence."""


def spoken(text: str) -> Words:
    """The words of a text without times: equal events at different times are still the same sentence."""
    return tuple(_WORD.findall(spaced(TIMES.sub(" ", text[: 40 * MOST_WORDS]).lower())))[
        :MOST_WORDS
    ]


def repeated(tokens: Words, n: int) -> float:
    """rep-n: share of n-grams that occurred before, 1 - distinct ÷ all (Welleck et al. 2020)."""
    grams = ngrams(tokens, n)
    total = grams.total()
    return 1 - len(grams) / total if total else 0.0


def loops(text: str) -> bool:
    """Whether `LOOP_WORDS` words in a row, or a sentence of three words or more, occur `LOOP_TIMES` times."""
    sentences = Counter(spoken(s) for s in _SENTENCE.split(TIMES.sub(" ", text)))
    often = max((n for s, n in sentences.items() if len(s) >= SENTENCE_WORDS), default=0)
    runs = ngrams(spoken(text), LOOP_WORDS)
    return often >= LOOP_TIMES or max(runs.values(), default=0) >= LOOP_TIMES


def flags(text: str, *, num_events: int, timed: bool, cut: bool) -> tuple[str, ...]:
    """The `FLAGS` of one answer, except `same as others`.

    Args:
        num_events: usable events found in it.
        timed: times were asked for.
        cut: it reached the limit of new tokens.
    """
    length = spaced(text).count(" ") + 1
    checks = {
        "empty": not text.strip(),
        "no times": timed and bool(text.strip()) and not num_events,
        "loop": loops(text),
        "echo": bool(_ECHO.search(text)),
        "cut": cut,
        "very long": length > MOST_WORDS,
    }
    return tuple(name for name, wrong in checks.items() if wrong)


def alike(texts: Sequence[str]) -> list[bool]:
    """For each text, whether it is not empty and occurs four times or more, word for word except times."""
    said = [spoken(t) for t in texts]
    counts = Counter(said)
    return [bool(s) and counts[s] > 3 for s in said]


@dataclass(frozen=True)
class Wordiness:
    """Length and variety of a whole set of answers."""

    rep: tuple[float, float, float, float]
    """Mean rep-1 to rep-4 of an answer."""
    distinct: tuple[float, float]
    """distinct-1 and distinct-2: different n-grams ÷ all, over the set (Li et al. 2016)."""
    length: tuple[float, float, float]
    """Words of an answer: mean, 10th and 90th percentile."""
    length_ratio: float
    """Words of the answers ÷ words of the references."""


def wordiness(texts: Iterable[str], references: Iterable[str]) -> Wordiness:
    """Length and variety of answers, with their length relative to the references. Times are no words."""
    said = [spoken(t) for t in texts]
    lengths = np.array([len(s) for s in said] or [0])
    true = sum(len(spoken(r)) for r in references)
    rep = [float(np.mean([repeated(s, n) for s in said])) if said else 0.0 for n in (1, 2, 3, 4)]
    distinct = []
    for n in (1, 2):
        grams: Counter[Words] = Counter()
        for s in said:
            grams.update(ngrams(s, n))
        distinct.append(len(grams) / max(1, grams.total()))
    return Wordiness(
        rep=(rep[0], rep[1], rep[2], rep[3]),
        distinct=(distinct[0], distinct[1]),
        length=(
            float(lengths.mean()),
            float(np.percentile(lengths, 10)),
            float(np.percentile(lengths, 90)),
        ),
        length_ratio=float(lengths.sum() / max(1, true)),
    )
