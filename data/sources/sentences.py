"""Notes that people wrote, as whole sentences; names stay as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import regex
from sentencex import segment

SAME = 0.8
"""A sentence with this share of its words in an earlier one says nothing new."""
NEAR = 12
"""Sentences back that it is compared with; what is further away may be said again."""
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "he",
        "her",
        "his",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "over",
        "she",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "they",
        "this",
        "to",
        "up",
        "was",
        "were",
        "while",
        "who",
        "with",
    ]
)
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}\p{N}\p{Cf}_]+(?:['’-][\p{L}\p{M}\p{N}]+)*"
)
_MARK = regex.compile(r"^(?:[-*•–—]|\(?\d{1,2}[.)])\s+")
"""Of a list, before its items."""
_ENDS = frozenset(".!?…。！？؟।॥။")
_CLOSING = "\"'”’»)]}」』）"
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("「", "」"), ("（", "）"))
_UNSAID = regex.compile(
    r"\W*(?:n\s*/\s*a|none?|null|nil|unknown|unspecified|unclear|not (?:specified|available|applicable|known|given)"
    r"|undefined|nan|tbd|to be (?:determined|added)|(?:no|without) (?:description|title|information))?\W*",
    regex.I,
)


def said(text: str) -> bool:
    """Whether a field holds more than a word for nothing (`N/A`, `None`, `-`)."""
    return _UNSAID.fullmatch(text) is None


def words_of(text: str) -> tuple[str, ...]:
    """Its words in any script, in small letters."""
    return tuple(_WORD.findall(text.lower()))


def telling(text: str) -> frozenset[str]:
    """The words that carry what it says."""
    return frozenset(words_of(text)) - _STOP


def balanced(text: str) -> bool:
    """Every bracket and quotation mark has its partner."""
    return text.count('"') % 2 == 0 and all(text.count(a) == text.count(b) for a, b in _PAIRS)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without list marks and ends left open; one that a bracket or quotation
    runs through stays in one piece."""
    piece, whole = "", balanced(text)
    parts = [_MARK.sub("", part.strip()) for part in segment("en", _MARK.sub("", text))]
    for i, part in enumerate(parts, 1):
        piece = f"{piece} {part}".strip()
        if i == len(parts) or not whole or balanced(piece):
            piece = piece.rstrip(" ,;:-–—")
            if words_of(piece):
                yield piece
            piece = ""


def ended(text: str) -> str:
    """With a full stop, where it does not end already, be it before a closing quotation mark."""
    last = text.rstrip(_CLOSING)[-1:]
    return text if not text or last in _ENDS else f"{text}."


def capital(text: str) -> str:
    """Begins with a capital; a first word with one further in (`iPhone`) is a name and stays."""
    first = "".join(text.split(maxsplit=1)[:1])
    return text[:1].title() + text[1:] if first.islower() else text


def new_sentences(texts: Iterable[str], before: list[str]) -> list[str]:
    """Texts as sentences, without those that say what one in `before` or an earlier one says."""
    kept: list[str] = []
    recent = deque((telling(s) for s in before[-NEAR:]), maxlen=2 * NEAR)
    for text in texts:
        words = telling(text)
        if words and not any(len(words & told) >= SAME * len(words) for told in recent):
            kept.append(ended(capital(text)))
            recent.append(words)
    return kept
