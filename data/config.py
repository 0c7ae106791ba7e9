"""Configuration shared by every command: `key=value` arguments, YAML recipes and checks.

Precedence: defaults < recipe < command line. All mistakes are reported together, with the nearest
valid key, and nothing heavier than pydantic is imported before that.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from data.errors import UserError, warn
from data.recipe import nearest, read_recipe

ROOT = Path(__file__).resolve().parents[1]
"""The root folder of this checkout."""
GIB = 2**30


class Section(BaseModel):
    """Keys that belong together. Unknown keys are errors; values never change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    COMMON: ClassVar[tuple[str, ...]] = ()
    """The dotted keys that `--help` shows, most used first; `--help all` shows all. Empty: all."""
    RENAMED: ClassVar[dict[str, str]] = {}
    """Old name of a key → its name now. Old names are still accepted."""

    @model_validator(mode="before")
    @classmethod
    def _by_new_names(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not cls.RENAMED.keys() & values.keys():
            return values
        for old, new in cls.RENAMED.items():
            if old in values and new in values:
                raise ValueError(f"{new}: given twice, as {old} too, its old name")
        return {cls.RENAMED.get(key, key): value for key, value in values.items()}

    @model_validator(mode="before")
    @classmethod
    def _over_own_defaults(cls, values: Any) -> Any:
        """A nested section of which some keys are given keeps, for the others, the defaults that it has here."""
        if not isinstance(values, dict):
            return values
        for name, field in cls.model_fields.items():
            default, given = field.default, values.get(name)
            if isinstance(default, Section) and isinstance(given, dict):
                own = default.model_dump(exclude_unset=True, by_alias=True)
                values = {**values, name: {**own, **given}}
        return values

    def idle(self) -> list[str]:
        """One error line for each key that is set but has no effect. `load` refuses such keys from a
        user, like typos. Programs that restore a stored config do not check them."""
        return []

    def changed(self) -> dict[str, Any]:
        """The keys whose value differs from the default, without those of nested sections."""
        fields = type(self).model_fields
        values = {name: getattr(self, name) for name in fields}
        return {
            fields[name].alias or name: value
            for name, value in values.items()
            if not isinstance(value, Section)
            and value != fields[name].get_default(call_default_factory=True)
        }


ConfigT = TypeVar("ConfigT", bound=Section)


# --- reading ---------------------------------------------------------------------------------


def _exists(text: str) -> bool:
    return os.path.exists(text)  # noqa: PTH110 - Path.exists raises if the text is too long for a name


def load(model: type[ConfigT], argv: Sequence[str], files: str | None = None) -> ConfigT:
    """Turn `["recipe=qlora", "optim.lr=3e-4"]` into a checked config.

    `files` names the key that collects arguments without `=` (paths, as in `describe VIDEO…`).

    Raises:
        UserError: with one line for every mistake in the recipe and on the command line.
    """
    paths = [a for a in argv if files and not a.startswith("-") and ("=" not in a or _exists(a))]
    overrides, problems = _parse([a for a in argv if a not in paths])
    recipe = overrides.pop("recipe", None)
    values = read_recipe(os.path.expanduser(recipe)) if recipe is not None else {}  # noqa: PTH111
    for key, text in overrides.items():
        _assign(values, key, _value(text), problems)
    if files and paths:
        values[files] = paths
    values = _expand_home(_expand_names(model, values))
    for old, new in renamed(model, values):
        warn(f"note: {old} is {new} now; write that")
    return validated(model, values, problems)


def validated(
    model: type[ConfigT], values: dict[str, Any], problems: Sequence[str] = ()
) -> ConfigT:
    """A checked config from nested values. `problems`: mistakes that were found before.

    Raises:
        UserError: with one line for every mistake, keys without effect included.
    """
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        explained = [_explain(model, dict(e)) for e in error.errors()]
        raise UserError("\n".join(dict.fromkeys([*problems, *explained]))) from None
    if problems := [*problems, *config.idle()]:
        raise UserError("\n".join(problems))
    return config


def _parse(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    overrides: dict[str, str] = {}
    problems = []
    for argument in argv:
        key, equals, text = argument.partition("=")
        if not equals or key.startswith("-"):
            shown = key.lstrip("-")
            problems.append(f"{argument}: write key=value, as in {shown}=…")
        elif key in overrides:
            problems.append(f"{key}: given twice ({overrides[key]!r} and {text!r})")
        else:
            overrides[key] = text
    return overrides, problems


def _value(text: str) -> Any:
    """The value of a command-line text: null and [lists] are parsed, the rest stays text (pydantic reads
    numbers)."""
    if text in ("null", "None"):
        return None
    if text.startswith("[") and text.endswith("]"):
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            # `[What happens?, Tell me]`: a question mark has a meaning in YAML
            return [part.strip() for part in text[1:-1].split(",")]
    return text


def _expand_home(values: Any) -> Any:
    """`values` with `~/` expanded to the user's home in every text: a shell does not expand it after
    `data.path=`."""
    if isinstance(values, dict):
        return {key: _expand_home(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_expand_home(value) for value in values]
    if isinstance(values, str) and "~/" in values:
        parts = [os.path.expanduser(p) if p.startswith("~/") else p for p in values.split(",")]  # noqa: PTH111
        return ",".join(parts)
    return values


def by_commas(value: Any) -> Any:
    """Validator for keys that also accept a list written as `a,b`."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(by_commas)]
"""Type of a key that takes several texts, also written as `a,b`."""


def one_of(what: str, known: Collection[str]) -> AfterValidator:
    """Validator for a key that takes one of `known`, a list that is kept elsewhere."""

    def check(value: str) -> str:
        if value not in known:
            near = nearest(value, list(known))
            raise ValueError(f"{value!r} is no {what}{near}; known: {', '.join(known)}")
        return value

    return AfterValidator(check)


def _assign(values: dict[str, Any], key: str, value: Any, problems: list[str]) -> None:
    *names, leaf = key.split(".")
    for name in names:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):  # `source=jsonl`, then `source.path=…`
            inner = values[name] = {"name": inner}
        values = inner
    if isinstance(values.get(leaf), dict) and not isinstance(value, dict):
        values[leaf]["name"] = value
    elif isinstance(value, str) and not leaf:
        problems.append(f"{key}=: no key before the equals sign, or it ends in a dot")
    else:
        values[leaf] = value


def _expand_names(model: type[Section], values: dict[str, Any]) -> dict[str, Any]:
    """`source: jsonl` is short for `source: {name: jsonl}` wherever a section has a name."""
    named = {key for key, inner in sections(model).items() if "name" in inner.model_fields}
    return {
        key: {"name": value} if key in named and isinstance(value, str) else value
        for key, value in values.items()
    }


def renamed(
    model: type[Section], values: dict[str, Any], at: str = ""
) -> Iterator[tuple[str, str]]:
    """(old, new) dotted names of the keys in `values` that were renamed."""
    for old, new in model.RENAMED.items():
        if old in values:
            yield at + old, at + new
    for name, section in sections(model).items():
        if isinstance(values.get(name), dict):
            yield from renamed(section, values[name], f"{at}{name}.")


def sections(model: type[Section]) -> dict[str, type[Section]]:
    """The sections of a config by name."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def leaves(model: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a config with its field, dotted: `optim.lr`, …"""
    inner = sections(model)
    for name, field in model.model_fields.items():
        if name in inner:
            yield from leaves(inner[name], f"{prefix}{name}.")
        else:
            yield prefix + (field.alias or name), field


def _explain(model: type[Section], error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    fields = dict(leaves(model))
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key{nearest(key, list(fields))}"
    if error["type"] == "missing":
        field = fields.get(key)
        if field is None:  # a whole section: name what it needs first
            return f"{key}: missing; write {key}=…"
        return f"{key}: missing ({field.description}); write {key}=…"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key:
        return message
    shown = "" if error["type"] == "value_error" else f", got {error['input']!r}"
    if error["type"].endswith("_parsing"):  # of a number or of true and false
        default = fields[key].default if key in fields else None
        shown += "" if default is None else f"; as in {key}={str(default).lower()}"
    if error["type"] == "literal_error":
        close = get_close_matches(str(error["input"]), message.split("'")[1::2], n=1, cutoff=0.6)
        shown += f", did you mean '{close[0]}'?" if close else ""
    return f"{key}: {message}{shown}"


def resolved(config: Section) -> dict[str, Any]:
    """The whole config as plain values, as written to a run folder."""
    return config.model_dump(by_alias=True)
