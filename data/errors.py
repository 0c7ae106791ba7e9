"""The exception for a user's mistake, and helpers that report failures on one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake that the user can fix: its text is shown without a traceback; exit code 2."""


def one_line(error: object, most: int = 300) -> str:
    """The text of an error on one line, cut to `most` characters."""
    return " ".join(str(error).split())[:most]


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its class if it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def warn(text: str) -> None:
    """Print one line to stderr, since a program may read stdout."""
    print(text, file=sys.stderr, flush=True)


def this_python() -> str:
    """The running interpreter as typed in the current folder, for commands that messages suggest."""
    here = Path(sys.executable)
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else "python"


def differing(before: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """Names in `made` whose value is another in a record read from JSON; one that is not there counts as null."""
    now = json.loads(json.dumps(made))
    return [name for name, value in now.items() if before.get(name) != value]


def made_otherwise(where: str, what: str, names: Sequence[str]) -> UserError:
    """The refusal to mix what was made by different keys in one place."""
    differ = f"{', '.join(names)} differ{'s' * (len(names) == 1)}"
    return UserError(
        f"{where}: holds {what} made otherwise ({differ}); choose another out, or add overwrite=true"
    )


def check_writable(key: str, path: str | None) -> None:
    """Refuse an output file that cannot be written, before the work starts.

    Raises:
        UserError: its folder does not exist, or it is a folder itself.
    """
    if path is not None and (not Path(path).parent.is_dir() or Path(path).is_dir()):
        raise UserError(f"{key}={path}: no such folder to write to")
