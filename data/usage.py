"""The keys of a command as text: `--help`, and all of them with their values."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from data.config import Section, leaves, resolved, sections


def show(config: Section) -> str:
    """Every key with its value and its one-line meaning."""
    values = resolved(config)
    lines = []
    for key, field in leaves(type(config)):
        value: Any = values
        for part in key.split("."):
            value = value[part]
        text = f"{key}={'null' if value is None else value}"
        lines.append(f"{text:<44}  {field.description}")
    return "\n".join(lines)


def usage(model: type[Section], doc: str, *, everything: bool = False) -> str:
    """The text of `--help`: what the command does, then its keys with default and meaning: those used
    most (`Section.COMMON`), or all of them by section."""
    fields = dict(leaves(model))
    lines = [doc.strip(), "", "keys (key=value):"]
    if model.COMMON and not everything:
        lines += [_line(key, fields[key]) for key in model.COMMON]
        others = len(fields) - len(model.COMMON)
        return "\n".join([*lines, "", f"{others} more keys: --help all"])
    section = ""
    for key in sorted(fields, key=lambda key: "." in key):  # those without a section first
        name = key.partition(".")[0] if "." in key else ""
        if name != section:
            section = name
            about = (sections(model)[name].__doc__ or "").strip().split("\n")[0]
            lines += ["", f"{name}: {about}"]
        lines.append(_line(key, fields[key]))
    return "\n".join(lines)


def completions(model: type[Section]) -> str:
    """What a shell may complete: `key=`, or `key=value` for each value of a closed list."""
    lines = []
    for key, field in leaves(model):
        lines += [f"{key}={value}" for value in _choices(field.annotation) or [""]]
    return "\n".join(lines)


def _choices(annotation: Any) -> list[str]:
    """The values of a key that has a closed list of them."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,):
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        inner = [_choices(one) for one in get_args(annotation) if one is not NoneType]
        return [value for one in inner for value in one] if all(inner) else []
    return []


def _line(key: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=False) if not field.is_required() else ...
    shown = key + "=" + ("…" if default is ... else "null" if default is None else str(default))
    if field.default_factory is not None:
        shown = f"{key}=auto"
    return f"  {shown:<44}  {field.description}"
