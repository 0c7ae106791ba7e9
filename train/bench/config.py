"""The keys of the trainer's benches."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from data.config import Section, by_commas
from train.config import Method
from train.plan_config import Size


class BenchPlanConfig(Section):
    """Keys of scripts/bench_plan.py."""

    models: Annotated[tuple[Size, ...], BeforeValidator(by_commas)] = Field(
        default=("256M", "500M"), description="shapes, random weights"
    )
    methods: Annotated[tuple[Method, ...], BeforeValidator(by_commas)] = Field(
        default=("full", "lora", "qlora"), description="what trains"
    )
    frames: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(4, 8), description="frames a video"
    )
    json_: str | None = Field(default=None, alias="json", description="write the figures here")
