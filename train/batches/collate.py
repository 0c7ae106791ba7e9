"""Encoded samples → one batch.

    input_ids       (B, T) int64, right-padded; packed: (1, T), one sample after the other
    attention_mask  (B, T) int64; packed: none, `position_ids` (1, T) restart at each sample instead
    labels          (B, T) int64, -100 at tokens that are not supervised
    answers         (A,) int64, positions in the flattened batch (B·T) that predict a supervised token
    shift_labels    (1, A) int64, the supervised tokens
    frames          (F, 3, S, S) uint8, the frames of all samples one after the other; or
    features        (F, N, H) cached vision features of these frames
    sample_ids      names of the samples, for messages

The model takes the frames of a batch in reading order, so samples with unequal frame counts need no
padding frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from train.batches.encode import IGNORED


def collate(
    samples: Sequence[dict[str, Any]], pad_id: int, *, left: bool = False
) -> dict[str, Any]:
    """One padded batch.

    Samples hold `id`, `input_ids`, `labels` and `frames` (F_i, 3, S, S) or `features`; F = ΣF_i.
    `left=True` pads on the left, for generation.
    """
    longest = max(len(s["input_ids"]) for s in samples)

    def padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        padding = [[fill] * (longest - len(row)) for row in rows]
        joined = [
            [*pad, *row] if left else [*row, *pad] for row, pad in zip(rows, padding, strict=True)
        ]
        return torch.tensor(joined, dtype=torch.int64)  # (B, T)

    ids = [s["input_ids"] for s in samples]
    return {
        "input_ids": padded(ids, pad_id),
        "attention_mask": padded([[1] * len(row) for row in ids], 0),
        **_shift_labels(padded([s["labels"] for s in samples], IGNORED)),
        **concat_frames(samples),
    }


def collate_packed(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One packed batch: all samples in one row, without padding. No token attends to another sample.

    With `position_ids` that restart and no attention mask, transformers builds the block-diagonal mask
    itself, if `use_cache` is false. The first token of a sample is never supervised, so that no
    sample predicts a token of the next one.
    """
    ids = [token for s in samples for token in s["input_ids"]]
    places = [place for s in samples for place in range(len(s["input_ids"]))]
    labels = [label for s in samples for label in (IGNORED, *s["labels"][1:])]
    return {
        "input_ids": torch.tensor([ids], dtype=torch.int64),  # (1, T)
        "position_ids": torch.tensor([places], dtype=torch.int64),
        **_shift_labels(torch.tensor([labels], dtype=torch.int64)),
        **concat_frames(samples),
    }


def collate_bins(bins: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """One packed batch, from a loader whose items are packs of samples."""
    return collate_packed([sample for one in bins for sample in one])


def _shift_labels(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    following = torch.full_like(labels, IGNORED)
    following[:, :-1] = labels[:, 1:]  # the hidden state at t predicts the token at t + 1
    answers = following.flatten().ne(IGNORED).nonzero().squeeze(1)  # (A,)
    return {
        "labels": labels,
        "answers": answers,
        "shift_labels": following.flatten()[answers].unsqueeze(0),
    }


def concat_frames(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Frames, or features, of all samples one after the other, and the samples' names."""
    kind = "features" if "features" in samples[0] else "frames"
    return {
        kind: torch.cat([s[kind] for s in samples]),
        "sample_ids": [s["id"] for s in samples],
    }
