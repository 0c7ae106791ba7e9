"""Write and read the ids of a run's held-out samples, so that an evaluation uses the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.storage import write_atomically
from train.run.files import HELD_OUT


def write_held_out(
    ids: Sequence[str], folder: Path, *, before: Sequence[str] | None = None
) -> None:
    """Write one sample id per line. `before`: the ids that earlier parts of a resumed run held out. Only those
    that all parts held out were never trained on, so that only these are written."""
    known = set(ids if before is None else before)
    left = [name for name in ids if name in known]
    write_atomically(folder / HELD_OUT, "".join(f"{_line(name)}\n" for name in left))


def read_held_out(folder: Path) -> tuple[str, ...] | None:
    """The held-out ids; None if the run has no such list, for instance one from the Hub.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / HELD_OUT
    if not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        return tuple(json.loads(line) if line.startswith('"') else line for line in lines)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None


def _line(name: str) -> str:
    """The id as it is, or as JSON if it would not be one line or would look like JSON."""
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)
