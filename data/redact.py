"""What of a record may leave this machine: no folder's place, and nothing secret in an address.

Everything that is pushed goes through here, whether it tells of a dataset or of a run.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

from fsspec import available_protocols

PLACES = {
    "path",
    "videos",
    "output",
    "out",
    "data",
    "predictions",
    "references",
    "prepared",
    "model",
    "cache",
    "json",
}
"""Keys whose value is a place, also where it does not look like one."""
LOCAL = {"encoder", "ids"}
"""Keys whose value may be a place: a folder in place of a Hub id, a file in place of ids."""
WORDS = {"prompt", "system", "query", "context"}
"""Keys whose value is said to a model, whatever it looks like."""
ADDRESS = re.compile(r"(?:[\w+.-]+::)*[A-Za-z][\w+.-]*://")

CHAIN = re.compile(rf"::(?=(?:{'|'.join(map(re.escape, available_protocols()))})(?:://|::|$))")
"""Between the links of fsspec's chained addresses; a password may hold `::`, too."""


def redacted(value: Any, base: str | None = None, key: str = "") -> Any:
    """A record, as JSON holds it, with folders of this machine cut to their last part, and addresses
    without user, password, query and fragment. `base`: a folder, wherever it stands."""
    if isinstance(value, dict):
        return {name: redacted(inner, base, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, base, key) for inner in value]
    last = key.rsplit(".", 1)[-1]  # keys that changed are told by their dotted names
    if not isinstance(value, str) or last in WORDS:
        return value
    if ADDRESS.match(value):
        return "::".join(map(_address, CHAIN.split(value)))
    local = last in LOCAL and (value.endswith(".txt") or Path(value).exists())
    if last in PLACES or local or value == base or _is_place(value):
        return PureWindowsPath(value).name if "\\" in value else PurePath(value).name
    return re.sub(rf"{ADDRESS.pattern}\S+", lambda found: redacted(found[0]), value)


def _is_place(value: str) -> bool:
    windows = PureWindowsPath(value)
    return value.startswith(("/", "~", "./", "../")) or bool(windows.drive and windows.root)


def _address(text: str) -> str:
    """One link of a chain of addresses. What is no proper address keeps only its scheme: what would be
    left of it cannot be known to be harmless."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return f"{text.split('://', 1)[0]}://"
    if parts.scheme in ("file", "local"):
        return PurePath(parts.path).name
    if ":" in parts.netloc and "@" in parts.path + parts.query + parts.fragment:
        return f"{parts.scheme}://"  # a secret with / or ? in it ends the host too early
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
