"""Conversations about a video: LLaVA `conversations` and chat `messages`."""

from __future__ import annotations

import re
from typing import Any

from data.sample import Turn
from data.sources.dialects import BadRow
from data.sources.parse import prose

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
PLACEHOLDER = re.compile(r"<(?:video|image)>\s*")


def exchanges_of(row: dict[str, Any]) -> tuple[list[Turn], str, str]:
    """LLaVA `conversations` or chat `messages` → (exchanges, system text, video path)."""
    messages = row.get("conversations", row.get("messages"))
    if messages is None:
        return [], "", ""
    if not isinstance(messages, list):
        raise BadRow("conversations/messages must be a list")
    system, video, question = "", "", None
    turns: list[Turn] = []
    for message in messages:
        if not isinstance(message, dict):
            raise BadRow(f"a message is an object, got {type(message).__name__}")
        role = ROLES.get(str(message.get("from", message.get("role"))))
        text, seen = _content(message.get("value", message.get("content")))
        video = video or seen
        if role == "system":
            system = text
        elif role == "user" and question is None:
            question = text
        elif role == "assistant" and question is not None and text:
            turns.append(Turn(question, text))
            question = None
        else:
            raise BadRow(
                "user and assistant must alternate, the user first, and every answer has text"
            )
    return turns, system, video


def _content(content: Any) -> tuple[str, str]:
    """Message content → (text, video path)."""
    if isinstance(content, str):
        return _clean(content), ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadRow("message content must be text or a list of typed parts")
    video = ""
    texts = []
    for part in content:
        if part.get("type") == "video":
            video = str(part.get("path") or part.get("url") or part.get("video") or "")
        elif part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise BadRow(f"a part of type {part.get('type')!r} cannot be used; video and text can")
    return _clean(" ".join(texts)), video


def _clean(text: str) -> str:
    return PLACEHOLDER.sub("", prose(text)).strip()
