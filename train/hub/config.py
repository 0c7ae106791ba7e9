"""The keys of scripts/push.py."""

from __future__ import annotations

from pydantic import Field

from data.config import Section
from train.sections import HubKeys


class PushRunConfig(Section):
    """Keys of scripts/push.py."""

    run: str = Field(description="run folder of train/sft.py, or folder of scripts/merge.py")
    hub: HubKeys = HubKeys()
    evaluation: str | None = Field(
        default=None, description="folder of scripts/evaluate.py with scores of this run"
    )
