"""The keys of scripts/audit.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.config import Section
from data.prepared.config import PreparedKeys
from train.inference.config import Force


class AuditConfig(Section):
    """Keys of scripts/audit.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "run", "data.path", "out", "rows", "limit", "least", "shown", "overwrite",
    )  # fmt: skip
    run: str = Field(description="the describer: a run, a checkpoint or a Hub name")
    data: PreparedKeys
    out: str = Field(description="folder of the figures and the page")
    rows: Literal["all", "held_out"] = Field(
        default="all", description="of the dataset, or only those that the run did not learn from"
    )
    limit: int | None = Field(
        default=None, ge=2, description="rows, drawn at random (null: all of them)"
    )
    least: float = Field(
        default=3.0,
        gt=0,
        description="rows are listed from here on: deviations from the dataset's middle",
    )
    shown: int = Field(default=100, ge=0, description="rows on the page, the most doubtful ones")
    batch: int = Field(default=8, ge=1, description="prompts at a time")
    seed: int = Field(
        default=0, ge=0, description="of the order: the other video is the one before"
    )
    force: Force = False
    overwrite: bool = Field(default=False, description="replace what is in out")
