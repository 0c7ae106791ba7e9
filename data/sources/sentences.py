"""Split written notes into whole sentences, without changing names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import regex
from sentencex import segment

SAME = 0.8
"""A sentence with this share of its words in an earlier one is a repeat."""
NEAR = 12
"""Number of earlier sentences that it is compared with; one further back may be repeated."""
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
"""The mark before an item of a list."""
_ENDS = frozenset(".!?…。！？؟।॥။")
_CLOSING = "\"'”’»)]}」』）"
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("「", "」"), ("（", "）"))
_UNSAID = regex.compile(
    r"\W*(?:n\s*/\s*a|none?|null|nil|unknown|unspecified|unclear|not (?:specified|available|applicable|known|given)"
    r"|undefined|nan|tbd|to be (?:determined|added)|(?:no|without) (?:description|title|information))?\W*",
    regex.I,
)


def said(text: str) -> bool:
    """Whether a field says anything: `N/A`, `None` and `-` do not."""
    return _UNSAID.fullmatch(text) is None


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in any script, in lower case."""
    return tuple(_WORD.findall(text.lower()))


def telling(text: str) -> frozenset[str]:
    """The content words of a text: all its words except stop words."""
    return frozenset(words_of(text)) - _STOP


def balanced(text: str) -> bool:
    """Whether every bracket and quotation mark has its partner."""
    return text.count('"') % 2 == 0 and all(text.count(a) == text.count(b) for a, b in _PAIRS)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without list marks and without commas, colons or dashes at their ends. A
    bracket or quotation is not split: its sentences stay in one piece."""
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
    """`text` with a full stop, unless it has an end mark already, at its end or before a closing quote."""
    last = text.rstrip(_CLOSING)[-1:]
    return text if not text or last in _ENDS else f"{text}."


def capital(text: str) -> str:
    """`text` with a capital first letter. A first word with a capital inside (`iPhone`) is a name and is
    kept."""
    first = "".join(text.split(maxsplit=1)[:1])
    return text[:1].title() + text[1:] if first.islower() else text


def new_sentences(texts: Iterable[str], before: list[str]) -> list[str]:
    """Texts as sentences, without those that repeat an earlier one or one in `before`."""
    kept: list[str] = []
    recent = deque((telling(s) for s in before[-NEAR:]), maxlen=2 * NEAR)
    for text in texts:
        words = telling(text)
        if words and not any(len(words & told) >= SAME * len(words) for told in recent):
            kept.append(ended(capital(text)))
            recent.append(words)
    return kept
