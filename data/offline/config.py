"""The keys of scripts/prepare.py: sources, frame policy, workers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data.config import Section
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys


class PrepareConfig(Section):
    """Keys of scripts/prepare.py."""

    source: SourceKeys = SourceKeys()
    sources: tuple[SourceKeys, ...] = Field(
        default=(), description="in a recipe: several sources, mixed by their weight"
    )
    frames: FrameKeys = FrameKeys()
    out: str = Field(description="folder or URL of the prepared dataset")
    engine: Literal["local", "ray"] = Field(
        default="local", description="processes of this machine, or a Ray cluster (extra: ray)"
    )
    address: str | None = Field(
        default=None,
        description="engine=ray: a running cluster (null: RAY_ADDRESS, or one of its own)",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="videos decoded at a time (null: as cores and memory allow)",
    )
    threads: int = Field(
        default=1, ge=0, le=64, description="decoder threads of one worker (0: as many as cores)"
    )
    min_decoded: float = Field(
        default=0.9, gt=0, le=1, description="a file of which less can be decoded is bad"
    )
    min_s: float = Field(default=0, ge=0, description="a shorter video is bad")
    timeout_s: float = Field(default=600, gt=0, description="time limit for one video")
    memory_gib: float = Field(default=4, ge=1, le=1024, description="memory limit of one worker")
    on_bad: Literal["quarantine", "stop"] = Field(
        default="quarantine",
        description="a bad video is quarantined with its reason, or ends the run",
    )
    retry: Literal["nothing", "quarantine"] = Field(
        default="nothing",
        description="quarantine: try the quarantined rows of an earlier run again",
    )
    shard_rows: int = Field(default=256, ge=1, description="source rows in one shard")
    overwrite: bool = Field(default=False, description="replace what is in out")
    json_: str | None = Field(default=None, alias="json", description="write the summary here")

    def idle(self) -> list[str]:
        lines = [line for one in (self.frames, self.source, *self.sources) for line in one.idle()]
        if self.address is not None and self.engine != "ray":
            lines.append(f"address={self.address}: of a Ray cluster; add engine=ray")
        if self.source.weight is not None or (len(self.sources) == 1 and self.sources[0].weight):
            lines.append("source.weight: of a mixture; there is one source (recipe=sources mixes)")
        return lines
