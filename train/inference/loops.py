"""Answers that go round in circles: found while they are generated, and stopped.

A sentence counts with its times the third time that it is said; without them only three times in a row, for
what happens again later, at other times, may be told in the same words. Within one sentence the same eight
words in a row count the third time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from train.metrics.degeneration import LOOP_TIMES, LOOP_WORDS, SENTENCE_WORDS, TIMES, spoken

EVERY = 16
"""Answers are looked at where a sentence ends, and after so many tokens: some sentences never end."""
_SENTENCE = re.compile(r"[^.!?。！？؟।\n]+(?:[.!?。！？؟।\n]+|$)")
_WORD = re.compile(r"\w+")
_ENDS = frozenset(".!?。！？؟।\n")


def repeated_from(text: str) -> int | None:
    """Where in a text the sentence, or the words, that make it a loop are said for the second time; None: no
    loop. Only whole sentences count, of three words or more."""
    # a point within a time ends no sentence
    shown = TIMES.sub(lambda time: " " * len(time[0]), text)
    places: dict[str, list[int]] = {}
    row: list[int] = []
    before: tuple[str, ...] = ()
    for found in _SENTENCE.finditer(shown):
        if (inside := _words_repeated_from(found[0])) is not None:
            return found.start() + inside
        words = spoken(found[0])
        if len(words) < SENTENCE_WORDS or found[0][-1] not in _ENDS:
            continue
        begin = found.start()
        same = places.setdefault(text[begin : found.end()].strip().lower(), [])
        same.append(begin)
        row = [*row, begin] if words == before else [begin]
        before = words
        for starts in (same, row):
            if len(starts) == LOOP_TIMES:
                return starts[1]
    return None


def _words_repeated_from(sentence: str) -> int | None:
    """Where in a sentence the words in a row that it says three times begin for the second time."""
    words = list(_WORD.finditer(sentence.lower()))
    places: dict[tuple[str, ...], list[int]] = {}
    for first in range(len(words) - LOOP_WORDS + 1):
        row = tuple(word[0] for word in words[first : first + LOOP_WORDS])
        starts = places.setdefault(row, [])
        starts.append(words[first].start())
        if len(starts) == LOOP_TIMES:
            return starts[1]
    return None


class StopLoops(StoppingCriteria):
    """Ends each answer of a batch when it has become a loop."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt_tokens: int):
        self._tokenizer = tokenizer
        self._from = prompt_tokens
        self._ending = _ending_tokens(tokenizer)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        said = input_ids[:, self._from :]  # (B, new)
        stops = torch.zeros(len(said), dtype=torch.bool, device=said.device)
        due = said.shape[1] % EVERY == 0
        for i, last in enumerate(said[:, -1].tolist()):
            if due or last in self._ending:
                text = str(self._tokenizer.decode(said[i], skip_special_tokens=True))
                stops[i] = repeated_from(text) is not None
        return stops


@lru_cache(maxsize=2)
def _ending_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens in whose text a sentence may end."""
    ids = list(range(len(tokenizer)))
    texts = tokenizer.batch_decode([[i] for i in ids])
    return frozenset(i for i, text in zip(ids, texts, strict=True) if _ENDS & set(text))
