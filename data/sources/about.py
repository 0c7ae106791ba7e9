"""What is known of a dataset, whoever trains on it or shares rows of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Stands as `ABOUT` in the module of its source, and nowhere else."""

    repo: str | None = None
    """On the Hub."""
    licence: str = "other"
    """As the Hub calls it."""
    credit: str = "not known; ask its makers"
    """Licence and credit in words, for a model card."""
    note: str = ""
    """What comes with its rows, for a dataset card."""
    texts: int = 1
    """Goes up where the same notes become other texts: a half-made dataset is not finished with both."""
