"""Download a model or an adapter from the Hub, as a folder like that of a run."""

from __future__ import annotations

from pathlib import Path

from data.hub import repo_folder

WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "*.yaml")
"""Files to download: no pickles, no code."""


def folder_of(name: str, key: str = "adapter") -> Path:
    """The folder itself, or the local copy of the Hub repository of that name. `key`: the setting to blame.

    Raises:
        UserError: neither exists.
    """
    return repo_folder(name, key, WANTED)
