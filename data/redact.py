"""Remove local folders and secrets in URLs from records before they leave this machine.

Every record that is pushed, of a dataset or of a run, goes through `redacted`.
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
"""Keys whose value is a path, even if it does not look like one."""
LOCAL = {"encoder", "ids", "selector"}
"""Keys whose value may be a path: a folder instead of a Hub id, a file instead of ids."""
WORDS = {"prompt", "system", "query", "context"}
"""Keys whose value is text for a model; it is kept whatever it looks like."""
ADDRESS = re.compile(r"(?:[\w+.-]+::)*[A-Za-z][\w+.-]*://")

CHAIN = re.compile(rf"::(?=(?:{'|'.join(map(re.escape, available_protocols()))})(?:://|::|$))")
"""The separator between the links of fsspec's chained URLs; a password may contain `::`, too."""


def redacted(value: Any, base: str | None = None, key: str = "") -> Any:
    """A JSON record with local paths cut to their last part, and URLs without user, password, query and
    fragment. `base`: a folder to cut under any key."""
    if isinstance(value, dict):
        return {name: redacted(inner, base, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, base, key) for inner in value]
    last = key.rsplit(".", 1)[-1]  # changed keys are recorded by their dotted names
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
    """One link of a chained URL, redacted. A malformed URL keeps only its scheme, because the rest may
    hold a secret."""
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
