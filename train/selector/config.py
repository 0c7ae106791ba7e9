"""The keys of scripts/train_selector.py."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from data.config import Section, by_commas

Objective = Literal["boundaries", "rank", "reinforce", "events"]
STEPS: dict[Objective, int] = {"boundaries": 6000, "rank": 1500, "reinforce": 1000, "events": 1000}


class SelectorData(Section):
    """The data that a selector learns from."""

    path: str | None = Field(
        default=None,
        description="objective=rank|reinforce|events: a prepared dataset, whose videos are measured "
        "again",
    )


class SelectorConfig(Section):
    """Keys of scripts/train_selector.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "objective", "data.path", "adapter", "out", "init", "steps", "videos", "budgets", "seed",
    )  # fmt: skip
    objective: Objective = Field(
        default="boundaries",
        description="what is learned: boundaries of shots (from videos that are rendered for it), values "
        "of frames by rank (a describer's losses with subsets of frames) or by reinforce (the same, "
        "drawn as it learns), or events (from a dataset's timelines)",
    )
    data: SelectorData = SelectorData()
    adapter: str | None = Field(
        default=None,
        description="objective=rank|reinforce: the describer, a run or a Hub name",
    )
    out: str = Field(description="folder of the selector")
    init: str | None = Field(
        default=None,
        description="a selector to begin with, whose other parts are kept, folder or Hub name (null: "
        "the one that comes with scenescribe)",
    )
    overwrite: bool = Field(default=False, description="replace the selector that is in out")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps (null: "
        + ", ".join(f"{steps} for {name}" for name, steps in STEPS.items())
        + ")",
    )
    batch: int = Field(default=16, ge=1, description="videos a step")
    lr: float = Field(default=2e-3, gt=0, description="highest learning rate")
    length: int = Field(
        default=384, ge=32, le=4096, description="objective=boundaries: frames of a rendered video"
    )
    videos: int = Field(
        default=2000,
        ge=1,
        description="rank|reinforce|events: at most so many videos are learned from",
    )
    pool: int = Field(
        default=24,
        ge=2,
        le=256,
        description="rank|reinforce: frames of a window that can be chosen",
    )
    budgets: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 6, 8), min_length=1, description="rank|reinforce: frames of a subset"
    )
    subsets: int = Field(default=48, ge=2, description="rank: subsets of each video")
    save_every: int = Field(
        default=250, ge=1, description="steps between checkpoints, from which a killed run goes on"
    )
    workers: int = Field(default=1, ge=0, description="objective=boundaries: processes that render")
    seed: int = Field(default=0, ge=0, description="of the weights and of what is drawn")

    @property
    def num_steps(self) -> int:
        """Optimizer steps."""
        return self.steps or STEPS[self.objective]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.objective != "boundaries" and self.data.path is None:
            raise ValueError(f"objective={self.objective} needs data.path=…, a prepared dataset")
        if self.objective in ("rank", "reinforce") and self.adapter is None:
            raise ValueError(f"objective={self.objective} needs adapter=…, the run that describes")
        if min(self.budgets) < 1 or max(self.budgets) > self.pool:
            raise ValueError(f"budgets={list(self.budgets)}: each is to be 1 to pool={self.pool}")
        return self
