"""The type for a transition between two shots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transition:
    """The transition from one shot to the next."""

    start_s: float
    """Timestamp of the last frame that is entirely of the old shot."""
    end_s: float
    """Timestamp of the first frame that is entirely of the new shot."""
    hard: bool
    """Whether it is a cut: no frame lies between."""
