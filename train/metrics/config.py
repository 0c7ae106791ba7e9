"""The keys of metrics: which text score, and a language model as a judge."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from train.cost import CostKeys

TextScore = Literal["meteor_lite", "meteor", "rouge_l", "cider_d"]
"""The text scores that SODA can use."""


class JudgeKeys(CostKeys):
    """A language model as a judge, behind any OpenAI-compatible address. The key, if the server
    wants one, comes from the environment (OPENAI_API_KEY)."""

    model: str | None = Field(default=None, description="name of the judging model (null: none)")
    frames: int = Field(
        default=0,
        ge=0,
        le=64,
        description="frames of each video that it is sent too, to judge events by what is seen (0: texts alone)",
    )
    cache: str = Field(
        default="evals/judge.jsonl", description="file of its answers; no question is asked twice"
    )
    workers: int = Field(default=8, ge=1, description="questions asked at a time")
    timeout_s: float = Field(default=120, gt=0, description="time limit for one answer")

    def idle(self) -> list[str]:
        given = self.changed() if self.model is None else {}
        return [f"judge.{key}: which judge? give judge.model" for key in given]
