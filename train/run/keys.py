"""The keys of a run, from its `config.yaml` and from the parts of a resumed run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from data.config import renamed, resolved
from data.errors import UserError
from train.config import TrainConfig
from train.run.folder import CONFIG
from train.run.state import (
    Part,
)

ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        found |= inner or {prefix + name: value}
    return found


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flat`."""
    found: dict[str, Any] = {}
    for key, value in keys.items():
        *sections, leaf = key.split(".")
        at = found
        for name in sections:
            at = at.setdefault(name, {})
        at[leaf] = value
    return found


def keys_of(folder: Path, parts: tuple[Part, ...]) -> dict[str, Any]:
    """The keys of a run after those parts, by their dotted names."""
    file = folder / CONFIG
    try:
        keys = _by_new_names(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"{file}: cannot be read ({error}); it has the keys that the run began with"
        ) from None
    for part in parts:
        keys |= _by_new_names(nested(part.changed))
    return keys


def completed(config: ConfigT, own: Mapping[str, Any], of: str) -> ConfigT:
    """The keys that are given, and those of a run (by their dotted names) where none are. `of`: what to blame.

    Raises:
        UserError: they conflict.
    """
    given = flat(config.model_dump(by_alias=True, exclude_unset=True))
    try:
        return type(config).model_validate(nested({**own, **given}))
    except ValidationError as error:
        line = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{of}: {line}") from None


def _by_new_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Flat keys; those that an earlier version called otherwise get their new names."""
    keys = flat(settings)
    for old, new in list(renamed(TrainConfig, settings)):
        keys[new] = keys.pop(old)
    return keys


def flat_keys(config: TrainConfig) -> dict[str, Any]:
    """Keys as YAML and JSON hold them, by their dotted names."""
    return flat(json.loads(json.dumps(resolved(config))))
