"""Several answers to one prompt in a single row: the prompt is computed once.

A row is a tree: the prompt, then one branch after the other. A branch sees the prompt and itself, and its positions go
on where the prompt ends, so that every answer gets the hidden states that it would get in a row of its own.

    tokens      (B, T) int64, prompt and branches, right-padded
    branch      (B, T) int64: 0 in the prompt, n in the n-th branch, -1 in the padding
    position_ids (B, T) int64
    places      (N·B, L) int64, positions in the flattened rows (B·T) of the prompt's last token and of a branch's
                tokens; first the first branches of all rows, then the second ones, …
    input_ids   (N·B, L) int64, the tokens there
    attention_mask, completion_mask  (N·B, L): real tokens; those of the answer
    frames, or features, sample_ids  as in `train.batches.collate`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from train.batches.collate import concat_frames

PADDING = -1


def collate_trees(samples: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Any]:
    """One batch of trees with equally many branches.

    Samples hold `id`, `prompt_ids`, `answer_ids` (a list of ids for each branch) and `frames` or `features`.
    """
    rows = [_row(one["prompt_ids"], one["answer_ids"]) for one in samples]
    longest = max(len(ids) for ids, _, _ in rows)
    each = len(samples[0]["answer_ids"])
    width = 1 + max(len(answer) for one in samples for answer in one["answer_ids"])

    def padded(row: Sequence[int], length: int, fill: int) -> list[int]:
        return [*row, *[fill] * (length - len(row))]

    inputs, places, real = [], [], []
    for n in range(each):
        for i, one in enumerate(samples):
            answers = one["answer_ids"]
            last = len(one["prompt_ids"]) - 1
            first = last + 1 + sum(map(len, answers[:n]))
            count = len(answers[n])
            row = i * longest
            inputs.append(padded([one["prompt_ids"][-1], *answers[n]], width, pad_id))
            places.append(
                padded([row + last, *range(row + first, row + first + count)], width, row)
            )
            real.append(padded([1] * (1 + count), width, 0))
    attention_mask = torch.tensor(real, dtype=torch.int64)  # (N·B, L)
    completion_mask = attention_mask.clone()
    completion_mask[:, 0] = 0
    return {
        "tokens": torch.tensor([padded(ids, longest, pad_id) for ids, _, _ in rows]),
        "branch": torch.tensor([padded(branch, longest, PADDING) for _, branch, _ in rows]),
        "position_ids": torch.tensor([padded(at, longest, 0) for _, _, at in rows]),
        "places": torch.tensor(places),
        "input_ids": torch.tensor(inputs),
        "attention_mask": attention_mask,
        "completion_mask": completion_mask,
        **concat_frames(samples),
    }


def _row(
    prompt: Sequence[int], answers: Sequence[Sequence[int]]
) -> tuple[list[int], list[int], list[int]]:
    """Ids, branch and position of each token of a tree."""
    ids, branch, at = list(prompt), [0] * len(prompt), list(range(len(prompt)))
    for n, answer in enumerate(answers, start=1):
        ids += answer
        branch += [n] * len(answer)
        at += range(len(prompt), len(prompt) + len(answer))
    return ids, branch, at
