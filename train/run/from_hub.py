"""Download a model or an adapter from the Hub, as a folder like that of a run."""

from __future__ import annotations

import re
from pathlib import Path

from data.errors import UserError
from data.hub import hub_errors

NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)
"""`owner/name`, or `owner/name@` and a branch, tag or commit."""
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "*.yaml")
"""Files to download: no pickles, no code."""


def folder_of(adapter: str) -> Path:
    """The folder itself, or the local copy of the Hub repository of that name.

    Raises:
        UserError: neither exists.
    """
    path = Path(adapter)
    named = NAME.fullmatch(adapter)
    if path.is_dir():
        return path
    if named is None or path.exists() or Path(adapter.split("/")[0]).is_dir():
        raise UserError(f"adapter={adapter}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        with hub_errors(named[1], key="adapter", revision=named[2]):
            there = snapshot_download(
                named[1],
                revision=named[2],
                allow_patterns=list(WANTED),
                ignore_patterns=["checkpoint-*/*"],
            )
    except UserError as error:
        raise UserError(f"{error} (nor is there a folder of that name here)") from None
    return Path(there)
