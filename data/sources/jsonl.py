"""A user's own videos: one JSON object a line.

Own rows:   {"video": "a.mp4", "description": "…", "events": [[0.0, 2.5, "…"], …], "id"?, "prompt"?, "credit"?}
LLaVA rows: {"video": "a.mp4" | ["a.mp4"], "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", …}]}
Chat rows:  {"messages": [{"role": "user", "content": "…" | [{"type": "video", "path": …}, {"type": "text", …}]}, …],
             "videos"?: ["a.mp4"]}

A relative `video` is looked up beside the JSONL file. `events` may also be objects with `start_s`,
`end_s`, `text`. A file named `.json` holds one list of such objects (LLaVA's form).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.config import UserError
from data.keys import SourceKeys
from data.sample import Event, Rejected, Sample, Turn, Video

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
PLACEHOLDER = re.compile(r"<(?:video|image)>\s*")


class _BadRow(Exception):
    pass


def read(keys: SourceKeys) -> Iterator[Sample | Rejected]:
    """Samples in file order; a row that cannot be read comes as `Rejected`, never as an exception."""
    path = _file(keys)
    for taken, (number, row) in enumerate(_rows(path)):
        if taken == keys.limit:
            return
        where = f"{path.name}:{number}"
        try:
            if isinstance(row, _BadRow):
                raise row
            yield _sample(row, path)
        except (_BadRow, ValueError) as error:  # a path such as `/` is a ValueError
            name = row.get("id") if isinstance(row, dict) else None
            video = row.get("video") if isinstance(row, dict) else None
            yield Rejected(
                id=_plain(str(name))[:200] if name is not None else where,
                video=_plain(str(video or ""))[:500],
                reason="bad row",
                detail=_plain(f"{where}: {error}")[:500],
            )


def count(keys: SourceKeys) -> int | None:
    """How many rows `read` will give, for the progress bar's ETA; None where that takes parsing.

    Raises:
        UserError: there is no such file.
    """
    path = _file(keys)
    if path.suffix == ".json":
        return None
    with path.open("rb") as file:
        rows = sum(bool(line.strip()) for line in file)
    return min(rows, keys.limit or rows)


def _file(keys: SourceKeys) -> Path:
    if keys.path is None:
        raise UserError("source.path: missing; write source.path=FILE.jsonl")
    path = Path(keys.path)
    if not path.is_file():
        raise UserError(
            f"source.path={keys.path}: {'is a folder' if path.is_dir() else 'no such file'}"
        )
    return path


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".json":  # one list, as LLaVA writes
        try:
            rows = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON: {error}") from None
        if not isinstance(rows, list):
            raise UserError(
                f"{path}: a list of rows was expected; one row a line goes in a .jsonl file"
            )
        yield from enumerate(rows, start=1)
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
                yield number, _BadRow(f"not JSON: {error}")


def _sample(row: Any, path: Path) -> Sample:
    if not isinstance(row, dict):
        raise _BadRow(f"a row is an object, got {type(row).__name__}")
    exchanges, system, chat_video = _chat(row)
    video = _video(row, chat_video)
    name = _text(row, "id") or Path(video).with_suffix("").as_posix()
    prompt, description = _text(row, "prompt"), _text(row, "description")
    if exchanges:
        prompt, description = prompt or exchanges[0].prompt, description or exchanges[0].answer
    events = _events(row.get("events"))
    if not events and not description:
        raise _BadRow("nothing to learn: give description, events, conversations or messages")
    return Sample(
        id=name,
        source="jsonl",
        video=Video(str(path.parent / video)),
        events=events,
        description=description,
        prompt=prompt,
        system=system,
        turns=tuple(exchanges[1:]),
        credit=_text(row, "credit"),
    )


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if key == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _BadRow(f"{key} must be text, got {type(value).__name__}")
    return _plain(value).strip()


def _plain(text: str) -> str:
    """Without lone surrogates: legal JSON, but nothing a tokenizer, a shard or a path could hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _video(row: dict[str, Any], chat_video: str) -> str:
    value = row.get("video") or row.get("videos") or chat_video
    if isinstance(value, list):
        if len(value) != 1:
            raise _BadRow(f"one video a row, got {len(value)}")
        value = value[0]
    if not isinstance(value, str) or not value:
        raise _BadRow("video is missing: give the path of one video file")
    if "://" in value:
        raise _BadRow(f"video={value}: give a local file; download it first")
    if "\0" in value:
        raise _BadRow("video holds a NUL character")
    return _plain(value)


def _events(value: Any) -> tuple[Event, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _BadRow(
            f"events must be a list of [start_s, end_s, text], got {type(value).__name__}"
        )
    events = []
    for i, item in enumerate(value):
        if isinstance(item, dict):
            item = [item.get("start_s"), item.get("end_s"), item.get("text")]
        if not isinstance(item, list) or len(item) != 3 or not isinstance(item[2], str):
            raise _BadRow(f"events[{i}] must be [start_s, end_s, text], got {item!r}")
        if any(isinstance(t, bool) or not isinstance(t, int | float) for t in item[:2]):
            raise _BadRow(f"events[{i}]: times are seconds as numbers, got {item[:2]!r}")
        text = " ".join(_plain(item[2]).split())
        if not text:
            raise _BadRow(f"events[{i}]: the text is empty")
        try:
            events.append(Event(float(item[0]), float(item[1]), text))
        except (ValueError, OverflowError) as error:
            raise _BadRow(f"events[{i}]: {error}") from None
    return tuple(sorted(events, key=lambda e: (e.start_s, e.end_s)))


def _chat(row: dict[str, Any]) -> tuple[list[Turn], str, str]:
    """LLaVA `conversations` or chat `messages` → (exchanges, system text, video path)."""
    messages = row.get("conversations", row.get("messages"))
    if messages is None:
        return [], "", ""
    if not isinstance(messages, list):
        raise _BadRow("conversations/messages must be a list")
    system, video, question = "", "", None
    turns: list[Turn] = []
    for message in messages:
        if not isinstance(message, dict):
            raise _BadRow(f"a message is an object, got {type(message).__name__}")
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
            raise _BadRow(
                "user and assistant must alternate, the user first, and every answer has text"
            )
    return turns, system, video


def _content(content: Any) -> tuple[str, str]:
    """Message content → (text, video path)."""
    if isinstance(content, str):
        return _clean(content), ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise _BadRow("message content must be text or a list of typed parts")
    video = ""
    texts = []
    for part in content:
        if part.get("type") == "video":
            video = str(part.get("path") or part.get("url") or part.get("video") or "")
        elif part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise _BadRow(f"a part of type {part.get('type')!r} cannot be used; video and text can")
    return _clean(" ".join(texts)), video


def _clean(text: str) -> str:
    return PLACEHOLDER.sub("", _plain(text)).strip()
