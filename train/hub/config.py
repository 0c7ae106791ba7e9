"""The keys of pushing to the Hub."""

from __future__ import annotations

from pydantic import Field, model_validator

from data.config import Section


class HubKeys(Section):
    """Where the result goes on the Hub."""

    push: bool = Field(default=False, description="push the result when the run has ended")
    repo: str | None = Field(default=None, description="owner/name of the model on the Hub")
    private: bool = Field(default=True, description="only you can see it (of a new repository)")
    checkpoints: bool = Field(
        default=False, description="push each checkpoint's weights too; training waits"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> HubKeys:
        if (self.push or self.checkpoints) and self.repo is None:
            raise ValueError("where to? give hub.repo=you/name")
        if self.repo is not None and self.repo.count("/") != 1:
            raise ValueError(f"repo={self.repo}: write owner/name")
        return self

    @property
    def target(self) -> str | None:
        """Where to push, if something is to be pushed."""
        return self.repo if self.push or self.checkpoints else None
