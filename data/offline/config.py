"""The keys of scripts/prepare.py: sources, frame policy, workers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.config import Section
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys


class PrepareConfig(Section):
    """Keys of scripts/prepare.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "source.name",
        "source.path",
        "source.videos",
        "source.limit",
        "out",
        "frames.policy",
        "frames.max",
        "frames.px",
        "frames.speed",
        "workers",
        "on_bad",
        "retry",
        "overwrite",
        "json",
    )

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
        description="engine=ray: address of a cluster (null: RAY_ADDRESS, else a new local one)",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="worker processes, one video each (null: as cores and memory allow)",
    )
    threads: int = Field(
        default=1, ge=0, le=64, description="decoder threads per worker (0: as many as cores)"
    )
    min_decoded: float = Field(
        default=0.9, gt=0, le=1, description="share of a video's frames that must be decodable"
    )
    min_s: float = Field(default=0, ge=0, description="shortest video that is accepted, in seconds")
    timeout_s: float = Field(default=600, gt=0, description="time limit per video, in seconds")
    memory_gib: float = Field(default=4, ge=1, le=1024, description="memory limit per worker")
    on_bad: Literal["quarantine", "stop"] = Field(
        default="quarantine",
        description="quarantine a bad video with its reason, or stop the run",
    )
    retry: Literal["nothing", "quarantine"] = Field(
        default="nothing",
        description="quarantine: try the quarantined rows of an earlier run again",
    )
    shard_rows: int = Field(default=256, ge=1, description="source rows per shard")
    overwrite: bool = Field(default=False, description="replace the dataset in out")
    json_: str | None = Field(
        default=None, alias="json", description="file to write the summary to, as JSON"
    )

    def idle(self) -> list[str]:
        """One line for each key that is set but has no effect."""
        lines = [line for one in (self.frames, self.source, *self.sources) for line in one.idle()]
        if self.address is not None and self.engine != "ray":
            lines.append(f"address={self.address}: used only with a Ray cluster; add engine=ray")
        if self.source.weight is not None or (len(self.sources) == 1 and self.sources[0].weight):
            lines.append(
                "source.weight: only for the sources of a mixture; there is one source "
                "(recipe=sources is a mixture)"
            )
        return lines
