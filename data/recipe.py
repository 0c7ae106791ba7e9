"""Recipes: keys by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError, one_line

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def read_recipe(recipe: str) -> dict[str, Any]:
    """The keys of a recipe, given by its name in `recipes/` or by the path of a YAML file."""
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else RECIPES / f"{recipe}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in RECIPES.glob("*.yaml"))
        raise UserError(
            f"recipe={recipe}: no such recipe{nearest(recipe, known)}; known: {', '.join(known)}"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise UserError(f"{path}: not YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys, got {type(values).__name__}")
    return values


def nearest(name: str, known: Sequence[str]) -> str:
    """`, did you mean 'optim.lr'?` or nothing."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if not close:  # the section may be missing or wrong: compare the last part alone
        last = {key.rsplit(".", 1)[-1]: key for key in reversed(known)}
        close = [last[m] for m in get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.7)]
    return f", did you mean '{close[0]}'?" if close else ""
