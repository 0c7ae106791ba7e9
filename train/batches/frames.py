"""Stored frames → uint8 squares, and these → what the vision tower takes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import SmolVLMProcessor, SmolVLMVideoProcessor


def frame_size_px(processor: SmolVLMProcessor) -> int:
    """Side of the square frames that the model takes."""
    return int(processor.video_processor.max_image_size["longest_edge"])


def decode_frames(jpegs: Sequence[bytes], size_px: int) -> torch.Tensor:
    """Stored frames → (F, 3, size, size) uint8, resized once and directly to the model's square."""
    pictures = []
    for jpeg in jpegs:
        with Image.open(io.BytesIO(jpeg)) as image:
            square = image.convert("RGB").resize((size_px, size_px), Image.Resampling.LANCZOS)
        pictures.append(torch.from_numpy(np.array(square)))  # (H, W, 3)
    return torch.stack(pictures).permute(0, 3, 1, 2).contiguous()


def normalise(frames: torch.Tensor, processor: SmolVLMProcessor) -> torch.Tensor:
    """(..., 3, H, W) uint8 on any device → float, scaled as the processor says."""
    return rescale(frames, processor.video_processor)


def rescale(frames: torch.Tensor, video: SmolVLMVideoProcessor) -> torch.Tensor:
    """`normalise` with only a video processor, without a tokenizer."""
    shape = frames.shape
    flat = video.rescale_and_normalize(
        frames.reshape(-1, *shape[-3:]),
        True,
        video.rescale_factor,
        True,
        video.image_mean,
        video.image_std,
    )
    return flat.reshape(shape)
