"""A run's model, and the answers that it generates to prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError
from data.window import as_seen
from train.batches.collate import collate
from train.batches.encode import (
    Exchange,
    decode_frames,
    first_prompt,
    fit_frames,
    frame_size_px,
    normalise,
)
from train.early_checks import check_reachable
from train.inference import fingerprint
from train.model import forward
from train.model.adapter import with_adapter
from train.model.load import load_model, load_processor, pick_precision
from train.run.saved import SavedRun
from train.sections import DataKeys, ModelKeys

FRAMES_AT_ONCE = 16
"""Frames per pass through the vision tower; affects memory only."""
ANSWER_TOKENS = 512
"""Longest answer, unless a longer one was learned."""


def load_run(
    run: SavedRun, dtype: str = "auto"
) -> tuple[PreTrainedModel | PeftModel, SmolVLMProcessor]:
    """The run's model, ready to generate, and its processor. Weights have the precision of this device.

    Raises:
        UserError: the model cannot be loaded, or its predictions are not those when it was saved.
    """
    precision = pick_precision(dtype)
    check_reachable(run.base, force=True)
    base = load_model(run.base, "lora", precision)
    model = with_adapter(base, run) if run.is_adapter else base
    processor = processor_of(run)
    model.to(torch.device(precision.device))  # type: ignore[arg-type]  # their wrapper hides the signature
    forward.check_forward(base)
    if run.is_trained:
        fingerprint.check_fingerprint(run, model, processor)
    return model.eval(), processor


def processor_of(run: SavedRun) -> SmolVLMProcessor:
    """The processor saved with the run's weights.

    Raises:
        UserError: there is none.
    """
    name = str(run.folder)
    own = run.base.name == name  # a model without an adapter may be on the Hub, at a revision
    return load_processor(run.base if own else ModelKeys(name=name))


def answer_length(run: SavedRun) -> int:
    """Maximum number of new tokens: `ANSWER_TOKENS`, or the longest training answer if that is longer."""
    return max(ANSWER_TOKENS, run.longest_answer or 0)


def generation_prompt(
    row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys
) -> dict[str, Any]:
    """The prompt of a row, open where the answer goes, in the form that `collate` takes, with the times, on
    the video's clock, of the frames that fit into it."""
    talk = [Exchange(first_prompt(row, keys), None)]
    ids, labels, kept = fit_frames(talk, as_seen(row, keys.window_clock), processor, keys)
    frames = decode_frames([row["frames"][i]["bytes"] for i in kept], frame_size_px(processor))
    times_s = [row["times_s"][i] for i in kept]
    return {
        "id": row["id"],
        "input_ids": ids,
        "labels": labels,
        "frames": frames,
        "times_s": times_s,
    }


@dataclass(frozen=True)
class Generation:
    """One generated answer."""

    text: str
    cut: bool
    """Generation stopped at the limit of new tokens, or of time."""


def answer(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    prompts: Sequence[dict[str, Any]],
    *,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    max_s: float | None = None,
) -> list[Generation]:
    """One answer per prompt, generated as one batch: greedy decoding, or sampling at a temperature above 0.

    Args:
        max_s: seconds after which generation stops, finished or not.

    Raises:
        UserError: the model's logits are NaN in its precision.
    """
    tokenizer = processor.tokenizer
    end = tokenizer.convert_tokens_to_ids(processor.end_of_utterance_token)
    inputs = collate(prompts, tokenizer.pad_token_id, left=True)
    inputs = {k: inputs[k].to(model.device) for k in ("input_ids", "attention_mask", "frames")}
    scale = partial(normalise, processor=processor)
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {}
    with torch.inference_mode():
        seen = forward.encode_frames(base, scale, inputs.pop("frames"), FRAMES_AT_ONCE)  # (F, P, D)
        out = model.generate(  # type: ignore[operator]
            **inputs,
            **{forward.FEATURES: forward.as_mm_outputs(base.model.connector(seen))},
            **(drawn or {"do_sample": False}),
            max_new_tokens=max_new_tokens,
            max_time=max_s,
            logits_processor=[_refuse_nan(base.dtype)],
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
        )
    said = out[:, inputs["input_ids"].shape[1] :]  # (B, new)
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    ended = (said == end).any(dim=1).tolist()
    return [Generation(text.strip(), not done) for text, done in zip(texts, ended, strict=True)]


def _refuse_nan(dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A logits processor that raises on NaN, which `generate` would turn into a token, or into silence."""

    def check(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:  # (B, T), (B, V)
        if bool(logits.isnan().any()):
            how = (
                "its weights are damaged, or its training diverged"
                if dtype is torch.float32
                else "its activations exceed that range; use model.dtype=fp32, or bf16 if the card has it"
            )
            name = str(dtype).removeprefix("torch.")
            raise UserError(f"the model's logits are no numbers in {name}: {how}")
        return logits

    return check
