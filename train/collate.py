"""Encoded samples → one batch.

    input_ids       (B, T) int64, right-padded
    attention_mask  (B, T) int64
    labels          (B, T) int64, -100 where nothing is learned
    pixel_values    (1, F, 3, S, S) uint8, the frames of all samples one after the other
    sample_ids      list of B names, for messages

The model takes the frames of a batch in reading order whatever their shape says, so samples with
unequal frame counts need no padding frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from train.encode import IGNORED


def collate(
    samples: Sequence[dict[str, Any]], pad_id: int, *, left: bool = False
) -> dict[str, Any]:
    """Samples hold `id`, `input_ids`, `labels` and `frames` (F_i, 3, S, S); F = ΣF_i.

    `left=True` pads on the left, for generation.
    """
    longest = max(len(s["input_ids"]) for s in samples)

    def padded(key: str, fill: int) -> torch.Tensor:
        rows = []
        for sample in samples:
            padding = [fill] * (longest - len(sample[key]))
            values = list(sample[key])
            rows.append(padding + values if left else values + padding)
        return torch.tensor(rows, dtype=torch.int64)  # (B, T)

    mask = [{"mask": [1] * len(s["input_ids"])} for s in samples]
    input_ids, labels = padded("input_ids", pad_id), padded("labels", IGNORED)
    samples = [{**s, **m} for s, m in zip(samples, mask, strict=True)]
    return {
        "input_ids": input_ids,
        "attention_mask": padded("mask", 0),
        "labels": labels,
        "pixel_values": torch.cat([s["frames"] for s in samples]).unsqueeze(0),  # (1, F, 3, S, S)
        "sample_ids": [s["id"] for s in samples],
    }
