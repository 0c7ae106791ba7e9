"""What a run says: to people, and to the files of its folder. Imports nothing heavy."""

from __future__ import annotations

import os
import sys

METRICS = "metrics.jsonl"
"""Every logged row."""
SAMPLES = "samples.jsonl"
"""What was said of held-out videos while training."""


def say(text: str) -> None:
    """One line for people, from the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def warn(text: str) -> None:
    """One line beside the output proper, which may be read by a program."""
    print(text, file=sys.stderr, flush=True)
