"""The keys of scripts/plan.py: those of a run, the card, and what is known of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from data.config import Section
from data.errors import UserError
from train.config import TrainConfig
from train.early_checks import check_reachable

Size = Literal["256M", "500M", "2.2B"]
MODELS: dict[Size, str] = {
    "256M": "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
    "500M": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
    "2.2B": "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
}
"""The published checkpoints whose shapes are known here (`train.memory.shapes`)."""
Gpu = Literal["t4", "16", "24", "40", "80"]


@dataclass(frozen=True)
class Card:
    """A kind of GPU."""

    name: str
    gib: float
    """That a program gets."""
    compute: Literal["fp16", "bf16"]
    tflops: float
    """That training is assumed to reach, about a third of what its makers print."""


CARDS: dict[Gpu, Card] = {
    "t4": Card("T4 (Colab)", 14.6, "fp16", 20),
    "16": Card("16 GB, as an RTX 4060 Ti", 15.6, "bf16", 30),
    "24": Card("24 GB, as an L4 or RTX 4090", 23.5, "bf16", 45),
    "40": Card("40 GB, as an A100", 39.4, "bf16", 110),
    "80": Card("80 GB, as an A100 or H100", 79.1, "bf16", 150),
}


class PlanFrames(Section):
    """Frames a video."""

    max: int | None = Field(
        default=None, ge=1, description="frames a video (null: as data.path was prepared, else 32)"
    )


class PlanConfig(TrainConfig):
    """Keys of scripts/plan.py. All keys of train/sft.py, and:"""

    gpu: Gpu = Field(default="16", description="the card: t4, or gigabytes of one with bf16")
    frames: PlanFrames = PlanFrames()
    answer_tokens: int = Field(default=300, ge=2, description="tokens of an answer")
    tflops: float | None = Field(
        default=None, gt=0, description="10^12 operations a second that training reaches"
    )
    search: bool = Field(default=True, description="also look for the largest batches that fit")
    json_: str | None = Field(default=None, alias="json", description="write the figures here")


def check_plan(config: PlanConfig) -> str:
    """What can be refused before torch is imported; returns the precision that the card computes in.

    Raises:
        UserError: the card cannot do what is asked, or there is no such model.
    """
    card = CARDS[config.gpu]
    asked = card.compute if config.model.dtype == "auto" else config.model.dtype
    if asked == "bf16" and card.compute != "bf16":
        raise UserError(
            f"model.dtype=bf16: a {card.name} only emulates it, slowly; leave model.dtype=auto"
        )
    if config.model.name != "tiny" and config.model.name not in MODELS.values():
        check_reachable(config.model, force=True)
    return asked
