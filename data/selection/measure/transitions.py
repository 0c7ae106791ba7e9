"""What lies between two shots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transition:
    """From the last time wholly of the old shot to the first wholly of the new one."""

    start_s: float
    end_s: float
    hard: bool
    """A cut: no frame lies between."""
