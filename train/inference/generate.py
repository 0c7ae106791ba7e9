"""A run's model, and the answers that it generates to prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel, RepetitionPenaltyLogitsProcessor, SmolVLMProcessor

from data.errors import UserError
from train.batches.collate import collate
from train.batches.encode import Exchange, first_prompt, fit_frames
from train.batches.frames import decode_frames, frame_size_px, normalise
from train.batches.shown import shown
from train.early_checks import check_reachable
from train.inference import fingerprint
from train.inference.compress import compressed
from train.inference.loops import StopLoops, repeated_from
from train.model import forward
from train.model.adapter import base_of, with_adapter
from train.model.load import load_model, load_processor, pick_precision
from train.run.saved import SavedRun
from train.sections import DataKeys, ModelKeys

T = TypeVar("T")
FRAMES_AT_ONCE = 16
"""Frames per pass through the vision tower; affects memory only."""
ANSWER_TOKENS = 512
"""Longest answer, unless a longer one was learned."""
PENALTY = 1.3
"""Of tokens that an answer has already used, when it is generated again because it repeated itself."""


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
    seen, context_cut = shown(row, processor, keys)
    talk = [Exchange(first_prompt(seen, keys), None)]
    ids, labels, kept = fit_frames(talk, seen, processor, keys)
    frames = decode_frames([row["frames"][i]["bytes"] for i in kept], frame_size_px(processor))
    times_s = [row["times_s"][i] for i in kept]
    return {
        "id": row["id"],
        "input_ids": ids,
        "labels": labels,
        "frames": frames,
        "times_s": times_s,
        "context_cut": context_cut,
    }


@dataclass(frozen=True)
class Generation:
    """One generated answer."""

    text: str
    cut: bool
    """Generation stopped at the limit of new tokens, or of time."""
    looped: bool = False
    """It said the same sentence a third time, and was generated once more with a penalty on repetition. What
    repeats is left out."""
    ids: tuple[int, ...] = field(default=(), repr=False, compare=False)
    """Its tokens as they were generated, with the one that ends it."""


def answer(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    prompts: Sequence[dict[str, Any]],
    *,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    max_s: float | None = None,
    stop_loops: bool = False,
    compress: float = 0.0,
    draws: int = 1,
) -> list[Generation]:
    """Answers to prompts, generated as one batch: greedy decoding, or sampling at a temperature above 0.

    Args:
        max_s: seconds after which generation stops, finished or not.
        stop_loops: end an answer that repeats itself, and generate it once more with a penalty.
        compress: share of picture tokens to leave out (`train.inference.compress`).
        draws: answers to each prompt, one after the other in the result; its frames are seen once.

    Raises:
        UserError: the model's logits are NaN in its precision, or the GPU's memory does not hold the batch.
    """
    say = partial(
        generate_from,
        model,
        processor,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        max_s=max_s,
        stop_loops=stop_loops,
    )
    base: Any = base_of(model)
    frames = torch.cat([prompt["frames"] for prompt in prompts]).to(model.device)
    scale = partial(normalise, processor=processor)
    try:
        with torch.inference_mode():
            seen = forward.encode_frames(base, scale, frames, FRAMES_AT_ONCE)  # (F, P, D)
            features = forward.connect(base, seen)  # (F, N, H)
            each = features.split([len(prompt["frames"]) for prompt in prompts])
            if compress:
                prompts, each = compressed(prompts, each, processor.image_token_id, compress)
                features = torch.cat(each)  # (tokens, H)
            if draws > 1:
                prompts, each = several(prompts, draws), several(each, draws)
                features = torch.cat(each)
            answers = say(prompts, features)
            again = [i for i, one in enumerate(answers) if one.looped]
            if again:
                second = say(
                    [prompts[i] for i in again],
                    torch.cat([each[i] for i in again]),
                    repetition_penalty=PENALTY,
                )
                for i, one in zip(again, second, strict=True):
                    answers[i] = replace(one, looped=True)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{len(prompts)} answers at a time do not fit into the GPU's memory; give a smaller batch"
        ) from None
    return answers


def several(items: Sequence[T], times: int) -> list[T]:
    """Each of the items so many times, one after the other."""
    return [item for item in items for _ in range(times)]


def generate_from(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    prompts: Sequence[dict[str, Any]],
    features: torch.Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    max_s: float | None = None,
    stop_loops: bool = False,
    repetition_penalty: float = 1.0,
) -> list[Generation]:
    """Answers of one batch whose frames have `features` (F, N, H), or (tokens, H) if some are left out."""
    tokenizer = processor.tokenizer
    end = tokenizer.convert_tokens_to_ids(processor.end_of_utterance_token)
    batch = collate(prompts, tokenizer.pad_token_id, left=True)
    inputs = {k: batch[k].to(model.device) for k in ("input_ids", "attention_mask")}
    length = inputs["input_ids"].shape[1]
    if "position_ids" in prompts[0]:
        inputs["position_ids"] = torch.tensor(
            [[0] * (length - len(p["input_ids"])) + p["position_ids"] for p in prompts],
            device=model.device,
        )  # (B, T)
    checks: list[Any] = [_refuse_nan(model.dtype)]
    if repetition_penalty != 1.0:  # on the words of the answer, not on those of the prompt
        checks.append(RepetitionPenaltyLogitsProcessor(repetition_penalty, length))
    drawn: dict[str, Any] = {}
    if temperature:  # a picture's token, if it were drawn, would stand for no picture
        pictures = [processor.image_token_id]
        drawn = {
            "do_sample": True,
            "temperature": temperature,
            "top_k": 0,
            "suppress_tokens": pictures,
        }
    out = model.generate(  # type: ignore[operator]
        **inputs,
        **{forward.FEATURES: forward.as_mm_outputs(features)},
        **(drawn or {"do_sample": False}),
        max_new_tokens=max_new_tokens,
        max_time=max_s,
        logits_processor=checks,
        stopping_criteria=[StopLoops(tokenizer, length)] if stop_loops else None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    said = out[:, length:]  # (B, new)
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    answers = []
    for text, ids in zip(texts, said.tolist(), strict=True):
        loop = repeated_from(text) if stop_loops else None
        if loop is None:
            own = ids[: ids.index(end) + 1] if end in ids else ids
            answers.append(Generation(text.strip(), cut=end not in ids, ids=tuple(own)))
        else:
            answers.append(Generation(text[:loop].strip(), cut=False, looped=True))
    return answers


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
