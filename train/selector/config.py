"""The keys of scripts/train_selector.py."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data.config import Section


class SelectorConfig(Section):
    """Keys of scripts/train_selector.py."""

    objective: Literal["boundaries"] = Field(
        default="boundaries",
        description="what is learned: boundaries of shots, from videos that are rendered for it",
    )
    out: str = Field(default="selectors/boundaries", description="folder of the selector")
    init: str | None = Field(
        default=None,
        description="a selector to begin with: its other parts are kept (folder or Hub name)",
    )
    overwrite: bool = Field(default=False, description="replace the selector that is in out")
    steps: int = Field(default=6000, ge=1, description="optimizer steps")
    batch: int = Field(default=16, ge=1, description="videos a step")
    length: int = Field(default=384, ge=32, le=4096, description="frames of a rendered video")
    lr: float = Field(default=2e-3, gt=0, description="highest learning rate")
    save_every: int = Field(
        default=250, ge=1, description="steps between checkpoints, from which a killed run goes on"
    )
    workers: int = Field(default=2, ge=0, description="processes that render")
    seed: int = Field(default=0, ge=0, description="of the weights and the videos")
