"""Rows described by an OpenAI-compatible server of a merged model; no weights are loaded here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from train.batches.encode import TooLong
from train.chat import Chat, Refused
from train.inference.answering import WindowAnswer
from train.inference.generate import Generation, processor_of
from train.inference.loops import repeated_from
from train.inference.request import asked_of
from train.run.saved import SavedRun

TIMEOUT_S = 600.0
PENALTY = 0.5
"""`frequency_penalty` of the second try of an answer that repeated itself."""


@dataclass(frozen=True)
class _Open:
    """A question that was sent, or why it was not."""

    row: dict[str, Any]
    seen_s: tuple[float, ...]
    context_cut: bool
    said: Future[Generation] | str


class Server:
    """A server, the model on it, and the processor that fits frames into prompts as in training."""

    def __init__(self, address: str, run: SavedRun, *, max_new_tokens: int, at_once: int):
        """
        Args:
            at_once: questions that are open at a time.

        Raises:
            UserError: it cannot be reached, or serves several models and none of the run's name.
        """
        self._chat = Chat(address, timeout_s=TIMEOUT_S, extra="judge", keys=("server", "its model"))
        self._run, self._processor = run, processor_of(run)
        self._model = _model_of(run, self._chat.models(), address)
        self._max_new_tokens, self._at_once = max_new_tokens, at_once

    def describe(self, rows: Iterable[dict[str, Any]]) -> Iterator[WindowAnswer]:
        """An answer for each row, in order.

        Raises:
            UserError: the server cannot be reached any more.
        """
        open_ones: deque[_Open] = deque()
        pool = ThreadPoolExecutor(self._at_once)
        try:
            for row in rows:
                open_ones.append(self._begun(pool, row))
                if len(open_ones) >= 2 * self._at_once:
                    yield _ended(open_ones.popleft())
            while open_ones:
                yield _ended(open_ones.popleft())
        finally:  # do not wait for questions still open
            pool.shutdown(wait=False, cancel_futures=True)

    def _begun(self, pool: ThreadPoolExecutor, row: dict[str, Any]) -> _Open:
        try:
            asked = asked_of(row, self._processor, self._run.data)
        except TooLong as error:
            return _Open(row, (), False, str(error))
        seen_s = tuple(row["times_s"][i] for i in asked.kept)
        return _Open(row, seen_s, asked.context_cut, pool.submit(self._said, asked.messages))

    def _said(self, messages: list[dict[str, Any]]) -> Generation:
        reply = self._chat.ask(self._model, messages, max_tokens=self._max_new_tokens)
        if repeated_from(reply.text) is None:
            return Generation(reply.text.strip(), reply.cut)
        reply = self._chat.ask(
            self._model, messages, max_tokens=self._max_new_tokens, frequency_penalty=PENALTY
        )
        loop = repeated_from(reply.text)
        return Generation(reply.text[:loop].strip(), reply.cut and loop is None, looped=True)


def _ended(one: _Open) -> WindowAnswer:
    nothing = Generation("", cut=False)
    if isinstance(one.said, str):
        return WindowAnswer(one.row, nothing, (), error=one.said)
    try:
        return WindowAnswer(one.row, one.said.result(), one.seen_s, one.context_cut)
    except Refused as error:
        return WindowAnswer(one.row, nothing, one.seen_s, error=str(error))


def _model_of(run: SavedRun, served: list[str], address: str) -> str:
    """The served model that is the run's: the only one, or the one that has its name."""
    names = {str(run.folder), run.folder.name, run.base.name}
    found = served if len(served) == 1 else [name for name in served if name in names]
    if len(found) != 1:
        raise UserError(
            f"server={address}: serves {', '.join(served) or 'no model'}; serve {run.folder.name} alone, or under its name"
        )
    return found[0]
