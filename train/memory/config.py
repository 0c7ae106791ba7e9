"""The keys of scripts/plan.py: the keys of a run, the GPU, and figures of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

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
    """Memory that a program gets."""
    compute: Literal["fp16", "bf16"]
    tflops: float
    """TFLOP/s that training is assumed to reach, about a third of the vendor's figure."""


CARDS: dict[Gpu, Card] = {
    "t4": Card("T4 (Colab)", 14.6, "fp16", 20),
    "16": Card("16 GB, as an RTX 4060 Ti", 15.6, "bf16", 30),
    "24": Card("24 GB, as an L4 or RTX 4090", 23.5, "bf16", 45),
    "40": Card("40 GB, as an A100", 39.4, "bf16", 110),
    "80": Card("80 GB, as an A100 or H100", 79.1, "bf16", 150),
}


class PlanFrames(Section):
    """Frames per video."""

    max: int | None = Field(
        default=None,
        ge=1,
        description="frames per video (null: as in data.path if it is prepared, else 32)",
    )


class PlanConfig(TrainConfig):
    """Keys of scripts/plan.py. All keys of train/sft.py, and:"""

    COMMON: ClassVar[tuple[str, ...]] = (
        "gpu",
        "model.name",
        "train.method",
        "train.batch",
        "frames.max",
        "data.path",
        "train.pack",
        "answer_tokens",
        "search",
        "json",
    )

    gpu: Gpu = Field(default="16", description="GPU: t4, or the GB of a card that has bf16")
    frames: PlanFrames = PlanFrames()
    answer_tokens: int = Field(default=300, ge=2, description="tokens per answer")
    tflops: float | None = Field(
        default=None, gt=0, description="TFLOP/s that training reaches (null: assumed for the GPU)"
    )
    search: bool = Field(default=True, description="also look for the largest batches that fit")
    json_: str | None = Field(
        default=None, alias="json", description="file for the figures (null: none)"
    )


def check_plan(config: PlanConfig) -> str:
    """Check the keys before torch is imported; returns the compute precision on the GPU.

    Raises:
        UserError: the GPU has no native bf16, or there is no such model.
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
