"""What a run says to people."""

from __future__ import annotations

import os


def say(text: str) -> None:
    """One line for people, from the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
