"""Reading a JSON Lines file in any Unicode encoding; a file that is not Unicode to its end is refused."""

from __future__ import annotations

import codecs
import json
import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError

_PIECE = 1 << 20


def unicode_of(path: Path) -> str:
    """The Unicode encoding of a JSON file, detected by its first bytes and checked on the whole file.

    Raises:
        UserError: it is not Unicode.
    """
    line = 1
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
        file.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)()
        while True:
            piece = file.read(_PIECE)
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise _no_unicode(path, encoding, line) from None
            if not piece:
                return encoding
            line += piece.count(b"\n")


def _no_unicode(path: Path, encoding: str, line: int) -> UserError:
    from charset_normalizer import from_path  # only to guess the encoding for the message

    guess = from_path(path).best()
    name = "ENCODING" if guess is None else guess.encoding
    return UserError(
        f"{path}: line {line} is no {encoding.upper()}"
        + ("" if guess is None else f", it looks like {name}")
        + f"; save it as UTF-8: iconv -f {name} -t utf-8 {path.name} > utf8-{path.name}"
    )


def json_lines(path: Path, shuffle_seed: int | None) -> Iterator[tuple[int, Any]]:
    """(line number, parsed row) for every line that is not empty. For a line that cannot be parsed, the
    row is the parser's ValueError or RecursionError.

    Raises:
        UserError: the file is not Unicode.
    """
    encoding = unicode_of(path)
    for number, line in _lines(path, encoding, shuffle_seed):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def num_lines(path: Path) -> int:
    """Number of lines that are not empty.

    Raises:
        UserError: the file is not Unicode.
    """
    return sum(bool(line.strip()) for _, line in _lines(path, unicode_of(path), None))


def _lines(
    path: Path, encoding: str, shuffle_seed: int | None
) -> Iterator[tuple[int, str | bytes]]:
    if encoding.startswith("utf-8"):
        with path.open("rb") as file:
            if shuffle_seed is None:
                yield from enumerate(file, 1)
                return
            starts = array("Q", [0])  # all that is held in memory
            for line in file:
                starts.append(starts[-1] + len(line))
            for i in _shuffled(len(starts) - 1, shuffle_seed):
                file.seek(starts[i])
                yield i + 1, file.readline()
        return
    lines = path.read_bytes().decode(encoding).split("\n")
    order = range(len(lines)) if shuffle_seed is None else _shuffled(len(lines), shuffle_seed)
    yield from ((i + 1, lines[i]) for i in order)


def _shuffled(count: int, seed: int) -> array[int]:
    order = array("Q", range(count))
    random.Random(seed).shuffle(order)
    return order
