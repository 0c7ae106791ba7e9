"""The keys of scripts/push_dataset.py."""

from __future__ import annotations

from pydantic import Field

from data.config import Section


class DatasetHubKeys(Section):
    """The repository to push to."""

    repo: str = Field(description="owner/name of the dataset on the Hub")
    private: bool = Field(default=True, description="only you can see it (for a new repository)")


class PreparedKeys(Section):
    """The dataset to push."""

    path: str = Field(description="folder made by scripts/prepare.py")


class PushConfig(Section):
    """Keys of scripts/push_dataset.py."""

    data: PreparedKeys
    hub: DatasetHubKeys
