"""A mistake of the user's, and how failures are told in one line."""

from __future__ import annotations

import sys
from pathlib import Path


class UserError(Exception):
    """A mistake the user can mend: shown as it is, without a traceback, exit code 2."""


def one_line(error: object, most: int = 300) -> str:
    """What a library says of its failure, on one line of at most so many characters."""
    return " ".join(str(error).split())[:most]


def first_line(error: BaseException) -> str:
    """Of what a library says of its failure; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def warn(text: str) -> None:
    """One line beside the output proper, which may be read by a program."""
    print(text, file=sys.stderr, flush=True)


def this_python() -> str:
    """The running interpreter as one would type it here, for commands that messages suggest."""
    here = Path(sys.executable)
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else "python"
