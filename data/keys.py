"""The keys of the offline run: source, frame policy, workers."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from data.config import Section


class SourceKeys(Section):
    """Where samples come from. `source=jsonl` is short for `source.name=jsonl`."""

    name: Literal["jsonl", "microworld"] = Field(description="which source reads the rows")
    path: str | None = Field(
        default=None, description="its file or folder (microworld: where its videos are rendered)"
    )
    limit: int | None = Field(default=None, gt=0, description="read at most this many rows")
    seed: int = Field(default=0, ge=0, description="microworld: seed of the rendered videos")


class FrameKeys(Section):
    """How frames are chosen and stored: the frame policy."""

    policy: Literal["scene", "uniform", "fps", "smolvlm", "shots"] = Field(
        default="scene", description="how frames are chosen"
    )
    max: int = Field(default=32, ge=1, le=1024, description="at most this many frames a video")
    px: int = Field(
        default=512, ge=16, le=4096, description="short side of stored frames, never enlarged"
    )
    fps: float = Field(default=1.0, gt=0, description="policy=fps|smolvlm: frames a second")
    detector: Literal["adaptive", "content", "hash", "histogram", "threshold"] = Field(
        default="adaptive", description="policy=shots: which PySceneDetect detector finds cuts"
    )
    threshold: float | None = Field(
        default=None, gt=0, description="policy=shots: the detector's threshold (null: its default)"
    )
    min_shot_s: float = Field(
        default=0.3, ge=0, description="policy=scene|shots: a shorter shot is not cut off"
    )
    pick: Literal["first", "middle"] = Field(
        default="middle", description="policy=shots: which frame stands for a shot"
    )
    min_gap_s: float = Field(
        default=0.5, gt=0, description="policy=scene: frames closer than this are not added"
    )
    decoder: Literal["pyav", "decord"] = Field(default="pyav", description="what reads the video")


class PrepareConfig(Section):
    """Keys of scripts/prepare.py."""

    source: SourceKeys
    frames: FrameKeys = FrameKeys()
    out: str = Field(description="folder of the prepared dataset")
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="worker processes"
    )
    min_decoded: float = Field(
        default=0.9, gt=0, le=1, description="a file of which less can be decoded is bad"
    )
    timeout_s: float = Field(default=600, gt=0, description="time limit for one video")
    memory_gib: float = Field(default=4, ge=1, le=1024, description="memory limit of one worker")
    shard_rows: int = Field(default=256, ge=1, description="source rows in one shard")
    overwrite: bool = Field(default=False, description="replace what is in out")
    json_: str | None = Field(default=None, alias="json", description="write the summary here")
