"""A model behind an address whose answers are kept in a file: no question is asked twice, and a kill loses none."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data.errors import UserError
from train.chat import Chat, Question, content_of


class Answered:
    """Answers of one model, from the file if the question was asked before. Threads may share it."""

    def __init__(
        self,
        chat: Chat,
        model: str,
        file: Path,
        *,
        about: Callable[[Question], Sequence[Any]],
        readable: Callable[[Question | None, str], bool],
        max_tokens: int,
        key: str,
    ):
        """
        Args:
            about: what identifies a question beside its text and its pictures: server, model, version of the words.
            readable: whether an answer says what was asked (None: an answer from the file, of an unknown question); one
                that does not is not kept.
            key: the file's name among the user's keys.

        Raises:
            UserError: the file cannot be used.
        """
        self._chat, self._model, self._file = chat, model, file
        self._about, self._readable, self._max_tokens = about, readable, max_tokens
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            if text and not text.endswith("\n"):  # cut by a kill: what follows is a line of its own
                with file.open("a", encoding="utf-8") as lines:
                    lines.write("\n")
        except OSError as error:
            raise UserError(f"{key}={file}: {error.strerror}") from None
        for line in text.split("\n"):
            try:
                row = json.loads(line)
                if readable(None, row["answer"]):
                    self._known[row["question"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # asked again

    def name(self, question: Question) -> str:
        """The question's key in the file."""
        about = list(self._about(question))
        if isinstance(question, str):
            about.append(question)
        else:
            about += [question.text, question.seen]
        return hashlib.sha256(json.dumps(about).encode("utf-8", "replace")).hexdigest()

    def known(self, question: Question) -> str | None:
        """Its answer, if it was asked before."""
        return self._known.get(self.name(question))

    def ask(self, question: Question) -> str:
        """The answer; a new one is stored at once.

        Raises:
            UserError: the server cannot be reached, or refuses every question.
            Refused: it refuses this one.
        """
        name = self.name(question)
        if name in self._known:
            return self._known[name]
        message = {"role": "user", "content": content_of(question)}
        answer = self._chat.ask(self._model, [message], max_tokens=self._max_tokens).text
        with self._lock:
            self._known[name] = answer
            if self._readable(question, answer):
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"question": name, "answer": answer}) + "\n")
                    lines.flush()
                    os.fsync(lines.fileno())
        return answer
