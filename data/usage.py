"""The keys of a command as text: `--help`, and all of them with their values."""

from __future__ import annotations

from typing import Any

from data.config import Section, leaves, resolved


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


def usage(model: type[Section], doc: str) -> str:
    """The text of `--help`: what the command does, then keys, defaults, meaning."""
    lines = [doc.strip(), "", "keys (key=value):"]
    for key, field in leaves(model):
        default = field.get_default(call_default_factory=False) if not field.is_required() else ...
        shown = key + "=" + ("…" if default is ... else "null" if default is None else str(default))
        if field.default_factory is not None:
            shown = f"{key}=auto"
        lines.append(f"  {shown:<44}  {field.description}")
    return "\n".join(lines)
