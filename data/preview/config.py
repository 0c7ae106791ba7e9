"""The keys of scripts/preview.py."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from data.config import Section, resolved
from data.selection.config import FrameKeys


class PreviewConfig(Section):
    """Keys of scripts/preview.py. `frames.policy` may name several: `scene,uniform`."""

    videos: list[str] = Field(min_length=1, description="video files")
    frames: FrameKeys = FrameKeys()
    compare: list[str] = Field(
        default=[], description="more policies; frames.policy=scene,uniform is short for it"
    )
    labels: str | None = Field(
        default=None,
        description="a jsonl file with these videos' events, as for scripts/prepare.py",
    )
    out: str = Field(default="preview", description="folder of the pages")
    format: Literal["html", "png"] = Field(default="html", description="a page or a picture")
    json_: str | None = Field(default=None, alias="json", description="write the figures here")

    _every: tuple[FrameKeys, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        frames = values.get("frames") if isinstance(values, dict) else None
        policy = frames.get("policy") if isinstance(frames, dict) else None
        if isinstance(frames, dict) and isinstance(policy, str) and "," in policy:
            first, *rest = [name.strip() for name in policy.split(",") if name.strip()]
            values = {**values, "frames": {**frames, "policy": first}}
            values["compare"] = [*values.get("compare", []), *rest]
        return values

    @model_validator(mode="after")
    def _policies(self) -> Self:
        names = dict.fromkeys([self.frames.policy, *self.compare])
        plain = resolved(self.frames)
        self._every = tuple(FrameKeys.model_validate({**plain, "policy": n}) for n in names)
        return self

    def idle(self) -> list[str]:
        """Error lines for the frame keys that none of the policies uses."""
        unused = [frames.unused() for frames in self._every]
        return [line for key, line in unused[0].items() if all(key in one for one in unused)]

    @property
    def every(self) -> tuple[FrameKeys, ...]:
        """One set of frame keys per policy, in the order given, each policy once."""
        return self._every
