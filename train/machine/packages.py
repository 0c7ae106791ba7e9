"""Check the installed packages before any of them is imported."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    verdict: Literal["ok", "note", "BAD"]
    what: str
    text: str


def packages() -> Iterator[Finding]:
    """Findings on Python and the dependencies in pyproject.toml: are all installed, and new enough?"""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = [Requirement(d) for d in tomllib.load(file)["project"]["dependencies"]]
    wrong, right = [], []
    for one in wanted:
        try:
            have = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one} is missing")
            continue
        if one.specifier.contains(have, prereleases=True):
            right.append(f"{one.name} {have}")
        else:
            wrong.append(f"{one.name} {have} does not satisfy {one.specifier}")
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    if wrong:
        yield Finding("BAD", "packages", f"{'; '.join(wrong)}: pip install -e .")
    else:
        yield Finding("ok", "packages", ", ".join(right))
