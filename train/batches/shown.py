"""A row as its prompt shows it: a window on its own clock, and not more context than `data.context_tokens`."""

from __future__ import annotations

from typing import Any

from transformers import SmolVLMProcessor

from data.window import as_seen
from train.sections import DataKeys

MOST_CHARACTERS_A_TOKEN = 32
"""A text of more than this many characters for each token allowed is cut before its tokens are counted."""


def shown(
    row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys
) -> tuple[dict[str, Any], int]:
    """The row, and how many lines were left out at the end of its context."""
    row = as_seen(row, keys.window_clock)
    # no text has more tokens than bytes
    if len(row["context"].encode()) <= keys.context_tokens:
        return row, 0
    lines = row["context"].split("\n")
    kept, tokens, characters = [], 0, 0
    for line in lines:
        characters += len(line)
        if characters > MOST_CHARACTERS_A_TOKEN * keys.context_tokens:
            break
        tokens += len(processor.tokenizer(f"{line}\n", add_special_tokens=False)["input_ids"])
        if tokens > keys.context_tokens:
            break
        kept.append(line)
    if not kept:  # one long line: its beginning
        begin = lines[0][: MOST_CHARACTERS_A_TOKEN * keys.context_tokens]
        ids = processor.tokenizer(begin, add_special_tokens=False)["input_ids"]
        kept = [processor.tokenizer.decode(ids[: keys.context_tokens])]
        return {**row, "context": kept[0]}, len(lines)
    return {**row, "context": "\n".join(kept)}, len(lines) - len(kept)
