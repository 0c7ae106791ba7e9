"""Questions to a model behind an OpenAI-compatible address; what goes wrong there, in one line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data.errors import UserError, one_line
from data.pages.render import data_url

PUBLIC = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Reply:
    """One answer."""

    text: str
    cut: bool
    """It ended at the limit of new tokens."""


Picture = tuple[float, bytes]
"""A frame's time in seconds, and its JPEG."""


@dataclass(frozen=True)
class PictureQuestion:
    """A question about pictures, which stand before it."""

    text: str
    pictures: tuple[Picture, ...]

    @cached_property
    def seen(self) -> list[str]:
        """SHA-256 of each picture."""
        return [hashlib.sha256(jpeg).hexdigest() for _, jpeg in self.pictures]


Question = str | PictureQuestion


def content_of(question: Question) -> str | list[dict[str, Any]]:
    """A question as the content of a message."""
    if isinstance(question, str):
        return question
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(jpeg)}} for _, jpeg in question.pictures
    ]
    return [*parts, {"type": "text", "text": question.text}]


class Refused(Exception):
    """The server answers this question with an error status; others it may answer."""


class Chat:
    """A server, with the names that its address and its model have among the user's keys."""

    def __init__(
        self, address: str | None, *, timeout_s: float, extra: str, keys: tuple[str, str]
    ) -> None:
        """
        Args:
            address: null: the client's own, OPENAI_BASE_URL or the public one.
            extra: what installs the client, as `judge` in `pip install -e '.[judge]'`.
            keys: names of the address and of the model in messages.

        Raises:
            UserError: the openai client is not installed.
        """
        try:
            import openai
        except ImportError:
            raise UserError(
                f"{keys[1]}: the openai client is not installed; pip install -e '.[{extra}]'"
            ) from None
        self._openai = openai
        self._where, self._model_key = f"{keys[0]}={address or PUBLIC}", keys[1]
        self._client: Any = openai.OpenAI(
            base_url=address,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),  # local servers want none
            max_retries=4,
            timeout=timeout_s,
        )

    def models(self) -> list[str]:
        """Names of the models that it serves.

        Raises:
            UserError: it cannot be reached, or refuses.
        """
        try:
            return [one.id for one in self._client.models.list()]
        except self._openai.APIError as error:
            raise UserError(str(self._mistake(error, "its list of models"))) from None

    def ask(
        self,
        model: str,
        messages: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        frequency_penalty: float = 0.0,
    ) -> Reply:
        """The answer, decoded greedily.

        Raises:
            UserError: the server cannot be reached, or refuses every question.
            Refused: it refuses this one.
        """
        penalty = {"frequency_penalty": frequency_penalty} if frequency_penalty else {}
        try:
            reply = self._client.chat.completions.create(
                model=model,
                messages=list(messages),
                temperature=0,
                max_tokens=max_tokens,
                **penalty,
            )
        except self._openai.APIError as error:
            raise self._mistake(error, f"{self._model_key}={model}") from None
        if not reply.choices:
            return Reply("", cut=False)
        first = reply.choices[0]
        return Reply(first.message.content or "", cut=first.finish_reason == "length")

    def _mistake(self, error: Exception, what: str) -> Exception:
        openai, where = self._openai, self._where
        if isinstance(error, openai.APIConnectionError):  # timeouts included
            return UserError(f"{where}: cannot be reached ({error}); the same command continues")
        if isinstance(error, openai.AuthenticationError):
            return UserError(f"{where}: refuses the key; set OPENAI_API_KEY in the environment")
        if isinstance(error, openai.APIStatusError):
            said = (
                f"{where}: answers {error.status_code} for {what} ({one_line(error.message, 200)})"
            )
            if error.status_code in (408, 409, 429) or error.status_code >= 500:  # it may pass
                return UserError(f"{said}; the same command continues")
            return Refused(said)
        return UserError(f"{where}: not an OpenAI-compatible answer ({error})")
