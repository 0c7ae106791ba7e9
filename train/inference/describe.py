"""Model + frames → description: the frame policy and the prompt of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers import PreTrainedModel, SmolVLMProcessor

from data.config import resolved
from data.errors import UserError, warn
from data.prepared.summary import own_words
from data.selection.choose import MIN_DECODED, ChosenFrames, choose_frames, policy_record
from data.selection.config import FrameKeys
from data.selection.known_policies import SHARED
from data.target import parse_timeline
from data.video.info import BadVideo
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
from train.inference.config import DescribeConfig
from train.model import forward
from train.model.adapter import with_adapter
from train.model.load import load_model, load_processor, pick_precision
from train.run.saved import SavedRun
from train.sections import DataKeys, ModelKeys

FRAMES_AT_ONCE = 16
"""Through the vision tower: only memory."""


def frames_for(run: SavedRun, given: FrameKeys) -> FrameKeys:
    """The run's own frame policy with the given keys instead of its; says so where it was trained
    with others.

    Raises:
        UserError: they do not go together.
    """
    asked = {key: getattr(given, key) for key in given.model_fields_set}
    changed = {key: value for key, value in asked.items() if getattr(run.frames, key) != value}
    if not changed:
        return run.frames
    kept = resolved(run.frames)
    if "policy" in changed:
        kept = {key: kept[key] for key in SHARED}
    try:
        frames = FrameKeys.model_validate({**kept, **asked})
    except ValidationError as error:
        raise UserError(
            f"frames.{error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None
    if idle := [line for key, line in frames.unused().items() if key in asked]:
        raise UserError("\n".join(idle))
    if run.is_trained:
        shown = ", ".join(f"frames.{key}={value}" for key, value in changed.items())
        warn(f"note: {shown} is not what {run.folder} was trained with")
    return frames


def load_run(
    run: SavedRun, dtype: str = "auto"
) -> tuple[PreTrainedModel | PeftModel, SmolVLMProcessor]:
    """The run's model ready to generate, base and adapter in the precision of this device.

    Raises:
        UserError: it cannot be loaded, or is not what was saved.
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
    """The one that lies beside the run's weights.

    Raises:
        UserError: there is none.
    """
    name = str(run.folder)
    own = run.base.name == name  # a model as it is may be one on the Hub, at a revision
    return load_processor(run.base if own else ModelKeys(name=name))


def describe(config: DescribeConfig, run: SavedRun) -> Iterator[dict[str, Any]]:
    """One description per video: its text, the events in it, the frames' times, the policy.

    The run's own frame policy is used; keys given on the command line replace its, with a warning.

    Raises:
        UserError: a video or the model cannot be used.
    """
    frames = frames_for(run, config.frames)
    if run.own_words and config.prompt is None:
        warn(
            f"note: {run.folder} learned from samples that were asked in their own words, too "
            f"({own_words(run.own_words)}); here it is asked the run's own prompt (prompt=… asks another)"
        )
    chosen = [
        (path, choose_or_refuse(path, frames, run.policy.min_decoded)) for path in config.videos
    ]  # before the model loads
    model, processor = load_run(run, config.model.dtype)
    length = config.max_new_tokens or answer_length(run)
    for path, kept in chosen:
        row = as_row(path, kept, config.prompt or "", config.context)
        prompt = generation_prompt(row, processor, run.data)
        (said,) = answer(model, processor, [prompt], max_new_tokens=length)
        unseen = len(kept.times_s) - len(prompt["times_s"])
        if said.cut:
            warn(f"note: {path}: the answer was cut at max_new_tokens={length}; give more")
        if unseen:
            warn(
                f"note: {path}: {unseen} of {len(kept.times_s)} frames did not fit into the {run.data.max_tokens} "
                "tokens of the run's prompts; a smaller frames.max spreads those that do"
            )
        events, _ = parse_timeline(said.text)
        yield {
            "video": path,
            "text": said.text,
            "cut": said.cut,
            "events": [asdict(event) for event in events],
            "times_s": prompt["times_s"],
            "frames_left_out": unseen,
            "duration_s": kept.duration_s,
            "policy": policy_record(frames),
        }


ANSWER_TOKENS = 512


def answer_length(run: SavedRun) -> int:
    """New tokens that an answer may take: the longest that the run learned from fits."""
    return max(ANSWER_TOKENS, run.longest_answer or 0)


def choose_or_refuse(path: str, keys: FrameKeys, min_decoded: float = MIN_DECODED) -> ChosenFrames:
    """Frames of a new video.

    Raises:
        UserError: the video cannot be used.
    """
    try:
        return choose_frames(path, keys, min_decoded)
    except BadVideo as error:
        raise UserError(f"{error.detail} ({error.reason})") from None


def as_row(path: str, chosen: ChosenFrames, prompt: str = "", context: str = "") -> dict[str, Any]:
    """Frames of a new video in the form of a prepared row, with nothing said about it yet."""
    return {
        "id": path,
        "frames": [{"bytes": jpeg} for jpeg in chosen.jpegs],
        "times_s": list(chosen.times_s),
        "duration_s": chosen.duration_s,
        "ranks": list(chosen.ranks),
        "prompt": prompt,
        "system": "",
        "context": context,
    }


def generation_prompt(
    row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys
) -> dict[str, Any]:
    """A row → its prompt, open where the answer goes, as `collate` takes it, and the times of the
    frames that are in it."""
    talk = [Exchange(first_prompt(row, keys), None)]
    ids, labels, kept = fit_frames(talk, row, processor, keys)
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
    """What a model said."""

    text: str
    cut: bool
    """It ran into the limit of new tokens, or of time."""


def answer(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    prompts: Sequence[dict[str, Any]],
    *,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    max_s: float | None = None,
) -> list[Generation]:
    """One answer per prompt, all at a time: the most likely words, or drawn ones at a temperature.

    Args:
        max_s: stop after so many seconds, wherever the answers are.

    Raises:
        UserError: the model gives no numbers in its precision.
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
            logits_processor=[_numbers(base.dtype)],
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
        )
    said = out[:, inputs["input_ids"].shape[1] :]  # (B, new)
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    ended = (said == end).any(dim=1).tolist()
    return [Generation(text.strip(), not done) for text, done in zip(texts, ended, strict=True)]


def _numbers(dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Of logits that are all NaN the library makes a word like any other, or silence."""

    def check(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:  # (B, T), (B, V)
        if bool(logits.isnan().any()):
            how = (
                "its weights are damaged, or its training ran away"
                if dtype is torch.float32
                else "its activations leave that range; give model.dtype=fp32, or bf16 where the card has it"
            )
            name = str(dtype).removeprefix("torch.")
            raise UserError(f"the model gives no numbers in {name}: {how}")
        return logits

    return check
