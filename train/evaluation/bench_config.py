"""The keys of scripts/bench_policies.py and scripts/export_benchmark.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from data.command import BenchConfig
from data.config import Section, by_commas
from train.config import DataKeys


class ExportConfig(Section):
    """Keys of scripts/export_benchmark.py."""

    data: DataKeys = DataKeys()
    name: str = Field(description="the benchmark's name, also of its files")
    out: str = Field(description="folder that VLMEvalKit reads (its LMUData)")
    model: str | None = Field(
        default=None, description="folder of a merged model, for its configuration"
    )
    limit: int | None = Field(
        default=None, ge=1, description="at most so many of the held-out videos"
    )


class PoliciesConfig(BenchConfig):
    """Keys of scripts/bench_policies.py."""

    policies: Annotated[tuple[str, ...], BeforeValidator(by_commas)] = Field(
        default=("scene", "uniform", "smolvlm"), description="frame policies: a,b"
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(by_commas)] = Field(
        default=(0, 1, 2), description="of weights and data order: 0,1"
    )
    videos: int = Field(default=4000, ge=60, description="micro-world videos, 5 % of them held out")
    held_out: int = Field(default=200, ge=1, description="of these at most so many are described")
    frames: int = Field(default=6, ge=1, le=32, description="frames a video, for every policy")
    steps: int = Field(default=1000, ge=1, description="training steps, for every policy")
    prewarm_steps: int = Field(default=800, ge=20, description="of the vision warm-up")
    mixed: bool = Field(default=True, description="also describe with the other policies' frames")
    workers: int = Field(default=2, ge=1, description="models trained at a time, a core each")
    work: str = Field(default="prepared/policies", description="where everything is kept")
