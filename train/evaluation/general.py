"""What a model forgets: its loss on plain instructions without video, which no training here ever shows it.

The instructions and answers in `general.jsonl` were written for this: short questions of everyday knowledge, language,
arithmetic and code. A loss that rises by tenths of a nat says that a model unlearns more than it learns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from train.evaluation.results import General
from train.evaluation.systems import PlannedSystem
from train.inference.generate import load_run
from train.model import adapter
from train.run.saved import SavedRun, base_of

ROWS = Path(__file__).with_suffix(".jsonl")


def compared(planned: Sequence[PlannedSystem], dtype: str) -> dict[str, General]:
    """By the folder of a run, its losses and those of its base model. Each model is loaded once."""
    known: dict[str, list[float]] = {}

    def of(run: SavedRun) -> list[float]:
        name = str(run.folder)
        if name not in known:
            known[name] = general_losses(run, dtype)
        return known[name]

    return {
        str(one.run.folder): General(
            of(one.run), of(base_of(one.run)) if one.run.is_trained else ()
        )
        for one in planned
    }


@torch.inference_mode()
def general_losses(run: SavedRun, dtype: str) -> list[float]:
    """The mean loss of each answer's tokens, in nats, one a row of `general.jsonl`.

    Raises:
        UserError: the model cannot be loaded.
    """
    model, processor = load_run(run, dtype)
    base: Any = adapter.base_of(model)
    tokenizer, own = processor.tokenizer, processor.chat_template
    template = own if isinstance(own, str) else DEFAULT_CHAT_TEMPLATE
    losses = []
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said: list[Any] = [{"role": "user", "content": [{"type": "text", "text": row["prompt"]}]}]
        asked = processor.apply_chat_template(said, template, add_generation_prompt=True)
        answer = f" {row['answer']}{processor.end_of_utterance_token}"
        prompt, reply = (
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, answer)
        )
        ids = torch.tensor([prompt + reply], device=model.device)  # (1, T)
        hidden = base.model(input_ids=ids).last_hidden_state[0, len(prompt) - 1 : -1]  # (A, H)
        logits = base.lm_head(hidden).float()  # (A, V)
        losses.append(float(functional.cross_entropy(logits, ids[0, len(prompt) :])))
    return losses
