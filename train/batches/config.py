"""The keys of scripts/inspect_dataset.py."""

from __future__ import annotations

from pydantic import Field

from data.config import Section
from train.sections import DataKeys


class CountKeys(Section):
    """The checkpoint that counts tokens."""

    name: str | None = Field(
        default=None, description="checkpoint whose processor counts tokens (null: only words)"
    )


class InspectConfig(Section):
    """Keys of scripts/inspect_dataset.py."""

    data: DataKeys = DataKeys()
    model: CountKeys = CountKeys()
    rows: int = Field(default=3, ge=0, le=100, description="first rows to show")
    page: str | None = Field(default=None, description="HTML page to write (null: none)")
