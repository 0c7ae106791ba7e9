"""Messages of a run to the user."""

from __future__ import annotations

import os


def say(text: str) -> None:
    """Print one line, from the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
