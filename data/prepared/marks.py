"""Rows of a prepared dataset that a person has marked to be dropped, as on an audit's page."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError, one_line


@dataclass(frozen=True)
class Marks:
    """A file of marks: a line is `{"id": "…", "mark": "drop"}`, or "keep"."""

    dropped: frozenset[str] = frozenset()
    """Ids of the rows marked `drop`."""
    sha256: str | None = None
    """Of the file."""


def read_marks(path: str | None, key: str) -> Marks:
    """The marks in a file; none if `path` is None. `key`: the file's name among the user's keys.

    Raises:
        UserError: there is no such file, or a line is no mark.
    """
    if path is None:
        return Marks()
    try:
        content = Path(path).read_bytes()
        lines = content.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key}={path}: cannot be read ({one_line(error)})") from None
    found = set()
    for number, line in enumerate(lines, 1):
        try:
            mark = json.loads(line)
            if mark["mark"] not in ("drop", "keep"):
                raise ValueError(f"mark={mark['mark']}")
            if mark["mark"] == "drop":
                found.add(str(mark["id"]))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{key}={path}, line {number}: no mark ({one_line(error)}); a line is "
                '{"id": "…", "mark": "drop"} or "keep"'
            ) from None
    return Marks(frozenset(found), hashlib.sha256(content).hexdigest())
