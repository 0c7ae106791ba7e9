"""Scores to publish on the Hub: only those of the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from data.config import resolved
from data.errors import UserError
from train.run.files import read_json
from train.run.policy import read_policy


@dataclass(frozen=True)
class Scores:
    """The scores of a run in an evaluation."""

    on: str
    """The scored videos, in words."""
    text_score: str
    figures: dict[str, dict[str, float]]
    """Measure → value, low, high."""


def read_scores(folder: Path, run: Path) -> Scores:
    """The scores of a run from a folder of scripts/evaluate.py, for frames chosen as in its training.

    Raises:
        UserError: no evaluation there, or it does not score this run with such frames.
    """
    told, frames = read_json(folder / "scores.json"), resolved(read_policy(run).frames)
    systems = told.get("systems", {})
    for one in systems.values():
        about = one.get("about", {})
        model, seen, data = (about.get(key) for key in ("model", "frames", "data"))
        same = all(frames[key] == value for key, value in (seen or {}).items() if key in frames)
        if model is not None and Path(model).resolve() == run.resolve() and same:
            held_out = "" if about.get("part") == "all" else "held-out "
            name = PurePath(str(data or "its dataset")).name
            on = f"{told['videos']} {held_out}videos of {name}"
            return Scores(on, told["text_score"], one["scores"])
    raise UserError(
        f"evaluation={folder}: scores {', '.join(systems) or 'nothing'}, not {run} with the frames it was trained "
        f"with; run scripts/evaluate.py adapter={run} out={folder}"
    )
