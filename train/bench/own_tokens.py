"""Frames that become tokens in a way that no plain checkpoint has, for trying such ways: the parts that make the
tokens, and a small loop that trains a tiny model with them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from train.batches.collate import collate
from train.batches.frames import normalise
from train.inference.generate import generate_from
from train.model import forward
from train.model.connector import tokens_of, widened

FRAMES_AT_ONCE = 256
RATE, RATE_VISION = 2e-3, 1e-4
AdamW = partial(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.0)


class Part(Protocol):
    """Makes the tokens of a sample's frames from what the tower saw of its pictures."""

    def __call__(self, seen: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """
        Args:
            seen: (pictures, P, D), the tower's.
            asked: (L, H) embeddings of the instruction's words.

        Returns:
            (tokens, H) in the order of the prompt.
        """
        ...


def fewer(connector: Any, shape: Any, tokens: int) -> torch.nn.Module:
    """A copy of the connector with fewer tokens a frame, each the mean of those that it replaces."""
    own = connector.scale_factor
    wanted = own * round((tokens_of(shape) / tokens) ** 0.5)
    other = copy.deepcopy(connector)
    weight = widened(connector.modality_projection.proj.weight.detach(), own, wanted)
    other.modality_projection.proj = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    other.modality_projection.proj.weight.data.copy_(weight)
    other.scale_factor = wanted
    return other


class Tail(torch.nn.Module):
    """SlowFast: after each full frame come `small` pictures of one token each, through a connector of their own."""

    def __init__(self, model: SmolVLMForConditionalGeneration, small: int):
        super().__init__()
        self.full, self.small = model.model.connector, small
        self.fast = fewer(model.model.connector, model.config, 1) if small else None

    def forward(self, seen: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        by_frame = seen.unflatten(0, (-1, 1 + self.small))  # (F, 1 + small, P, D)
        parts = [self.full(by_frame[:, 0])]
        if self.fast is not None:
            few = self.fast(by_frame[:, 1:].flatten(0, 1))  # (F · small, 1, H)
            parts.append(few.unflatten(0, (-1, self.small)).flatten(1, 2))
        return torch.cat(parts, dim=1).flatten(0, 1)


class Pair(torch.nn.Module):
    """LLaMA-VID's pair (arXiv 2311.17043): a content token, the mean, and a context token, by attention to the patches
    with the instruction's words as queries. Those are the language model's own embeddings through a projection."""

    def __init__(self, model: SmolVLMForConditionalGeneration):
        super().__init__()
        self.content = fewer(model.model.connector, model.config, 1)
        text, patches = model.model.connector.modality_projection.proj.weight.shape
        vision = patches // model.config.scale_factor**2
        self.query = torch.nn.Linear(text, vision, bias=False)
        self.context = torch.nn.Linear(vision, text, bias=False)

    def forward(self, seen: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        queries = self.query(asked)  # (L, D)
        scores = torch.einsum("ld,fpd->flp", queries, seen) / seen.shape[-1] ** 0.5
        found = (scores.softmax(-1) @ seen).mean(1)  # (F, D)
        both = torch.stack([self.context(found), self.content(seen).squeeze(1)], dim=1)
        return both.flatten(0, 1)  # (2 F, H)


class Describes(torch.nn.Module):
    """A model whose frames become tokens by `part`. Its samples hold `input_ids`, `labels`, `frames` (all pictures) and
    `asked` (ids of the instruction's words)."""

    def __init__(
        self, model: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor, part: Any
    ):
        super().__init__()
        self.model, self.part, self.processor = model, part, processor

    def tokens(self, samples: Sequence[dict[str, Any]]) -> torch.Tensor:
        """(tokens of all samples, H)"""
        scale = partial(normalise, processor=self.processor)
        pictures = torch.cat([s["frames"] for s in samples])
        seen = forward.encode_frames(self.model, scale, pictures, FRAMES_AT_ONCE)
        each = seen.split([len(s["frames"]) for s in samples])
        words = self.model.get_input_embeddings()
        return torch.cat(
            [self.part(one, words(s["asked"])) for one, s in zip(each, samples, strict=True)]
        )

    def loss(self, samples: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Mean loss of the answers' tokens, in nats."""
        batch = collate(samples, self.processor.tokenizer.pad_token_id)
        hidden = self.model.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            **{forward.FEATURES: forward.as_mm_outputs(self.tokens(samples))},
        ).last_hidden_state
        logits = self.model.lm_head(hidden.flatten(0, 1)[batch["answers"]])
        return functional.cross_entropy(logits, batch["shift_labels"][0])


class Samples(Protocol):
    """Samples that are encoded when they are read."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> dict[str, Any]: ...


def learn(net: Describes, samples: Samples, *, steps: int, batch: int = 16, seed: int) -> None:
    """Train all weights, in place."""
    vision = list(net.model.model.vision_model.parameters())
    tower = {id(p) for p in vision}
    rest = [p for p in net.parameters() if id(p) not in tower]
    optimizer = AdamW([{"params": vision, "lr": RATE_VISION}, {"params": rest, "lr": RATE}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [RATE_VISION, RATE], total_steps=steps, pct_start=0.06
    )
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(len(samples)) for _ in range(steps * batch // len(samples) + 1)]
    )
    net.train()
    for step in tqdm(range(steps), desc="train", unit="step"):
        chosen = order[step * batch : (step + 1) * batch]
        loss = net.loss([samples[int(i)] for i in chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def read(net: Describes, samples: Samples, *, longest: int, batch: int = 20) -> list[str]:
    """The answer to each sample, by greedy decoding."""
    net.eval()
    said = []
    for i in range(0, len(samples), batch):
        some = [_open(samples[n]) for n in range(i, min(i + batch, len(samples)))]
        found = generate_from(
            net.model, net.processor, some, net.tokens(some), max_new_tokens=longest
        )
        said += [one.text for one in found]
    return said


def _open(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample without its answer."""
    cut = next(i for i, label in enumerate(sample["labels"]) if label >= 0)
    return {**sample, "input_ids": sample["input_ids"][:cut], "labels": sample["labels"][:cut]}
