"""The keys of scripts/demo.py."""

from __future__ import annotations

from pydantic import Field

from data.config import Section


class DemoConfig(Section):
    """Keys of scripts/demo.py. The training keys are those of recipes/demo.yaml."""

    videos: int = Field(default=3000, ge=40, description="micro-world videos")
    frames: int = Field(default=6, ge=2, le=32, description="frames per video")
    policy: str = Field(default="scene", description="frame policy, as frames.policy")
    steps: int = Field(default=700, ge=1, description="training steps")
    prewarm_steps: int = Field(default=800, ge=20, description="steps of the vision warm-up")
    seed: int = Field(default=0, ge=0, description="seed of videos, weights and data order")
    prepared: str = Field(default="prepared", description="folder for videos and prepared data")
    out: str = Field(default="runs/demo", description="run folder")
    json_: str | None = Field(default=None, alias="json", description="write the scores here")
