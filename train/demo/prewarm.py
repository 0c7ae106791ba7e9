"""Pretrain the tiny model's vision tower before the model learns to describe.

SmolVLM2's vision tower comes pretrained; the tiny one starts from noise, and a language model of
this size does not teach it shapes through captions in a few minutes. So tower and connector first
learn to classify colour, shape and background of single micro-world pictures, through throw-away heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from data.sources.microworld import ACTIONS, BACKGROUNDS, COLOURS, SHAPES, Scene, draw
from train.batches.frames import frame_size_px, normalise
from train.model import tiny
from train.model.load import load_processor
from train.sections import ModelKeys

CLASSES = (tuple(COLOURS), SHAPES, tuple(BACKGROUNDS))


def prewarm(
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    *,
    steps: int,
    pictures: int = 6000,
    seed: int = 0,
) -> float:
    """Train `model`'s tower and connector in place; return the shape accuracy of the last steps."""
    frames, classes = draw_pictures(np.random.default_rng(seed), pictures, frame_size_px(processor))
    counts = [len(names) for names in CLASSES]
    return learn_classes(model, processor, frames, classes, counts, steps=steps, seed=seed)[1]


def learn_classes(
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    frames: torch.Tensor,
    classes: torch.Tensor,
    counts: Sequence[int],
    *,
    steps: int,
    batch: int = 64,
    lr: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Train `model`'s tower and connector, in place, to tell the classes of single pictures.

    Args:
        frames: (N, 3, S, S) uint8.
        classes: (N, K) numbers of the classes, of K kinds.
        counts: (K,) how many classes a kind has.

    Returns:
        (K,) accuracy of each kind in the last steps.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    body = model.model
    width = body.connector.modality_projection.proj.out_features * body.image_seq_len
    heads = torch.nn.ModuleList(torch.nn.Linear(width, count) for count in counts)
    learned = [*body.vision_model.parameters(), *body.connector.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    right = []
    for _ in tqdm(range(steps), desc="prewarm vision", unit="step"):
        chosen = torch.from_numpy(rng.integers(0, len(frames), batch))
        pixels = normalise(frames[chosen], processor).unsqueeze(0)  # (1, B, 3, S, S)
        seen = torch.stack(body.get_image_features(pixels, return_dict=True).pooler_output)
        seen = seen.reshape(batch, -1)  # (B, tokens · D)
        losses, told = [], []
        for head, truth in zip(heads, classes[chosen].T, strict=True):
            scores = head(seen)  # (B, classes)
            losses.append(functional.cross_entropy(scores, truth))
            told.append((scores.argmax(1) == truth).float().mean().item())
        right.append(told)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
    return np.mean(right[-50:], axis=0).tolist()


def build_prewarmed(folder: Path, *, steps: int, seed: int) -> float:
    """Write the tiny model with a pretrained tower; return the shape accuracy of the last steps."""
    tiny.build(folder, seed=seed)
    processor = load_processor(ModelKeys(name=str(folder)))
    model = SmolVLMForConditionalGeneration.from_pretrained(folder)
    shape_accuracy = prewarm(model, processor, steps=steps, seed=seed)
    model.save_pretrained(folder)
    return shape_accuracy


def draw_pictures(
    rng: np.random.Generator, count: int, size_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Single micro-world pictures: (N, 3, S, S) uint8, and (N, 3) their colour, shape and background numbers."""
    frames, classes = [], []
    for _ in tqdm(range(count), desc="draw", unit="picture"):
        colour, shape, background = (int(rng.integers(len(names))) for names in CLASSES)
        scene = Scene(
            num_frames=1,
            colour=CLASSES[0][colour],
            shape=CLASSES[1][shape],
            background=CLASSES[2][background],
            action=str(rng.choice(list(ACTIONS))),
            radius=float(rng.uniform(0.24, 0.32)),
        )
        frames.append(draw(scene, float(rng.random()), size_px))
        classes.append((colour, shape, background))
    stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return stacked, torch.tensor(classes)
