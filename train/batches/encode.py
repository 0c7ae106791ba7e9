"""A prepared row → token ids and labels, built together.

transformers' `SmolVLMProcessor` writes the prompt, given the frames' true times; only the
instruction and the answer are ours. Labels are -100 everywhere except on each answer and the
`<end_of_utterance>` that closes it. The label mask is made here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import SmolVLMProcessor
from transformers.models.smolvlm.processing_smolvlm import FRAME_TIMESTAMP_MESSAGE

from data.errors import UserError
from data.sample import events_of
from data.target import Unit, stamp, target
from train.batches.shown import shown
from train.sections import INSTRUCTIONS, DataKeys

IGNORED = -100
TICKS = 1000
"""Frame times reach the processor as frame numbers at this many frames a second."""


class TooLong(UserError):
    """Even with a single frame the sample exceeds `data.max_tokens`."""


@dataclass(frozen=True)
class Exchange:
    """One instruction and its answer; the last answer is None when it is to be generated."""

    prompt: str
    answer: str | None


@dataclass(frozen=True)
class Encoded:
    """One sample ready to be collated."""

    id: str
    input_ids: list[int]
    labels: list[int]
    kept: list[int]
    """Indices of the row's frames that are in the prompt."""
    fell_back: bool
    """The row had no target in the form asked for, so the other form was used."""
    context_cut: int = 0
    """Lines left out at the end of its context."""


def exchanges(row: dict[str, Any], keys: DataKeys) -> tuple[list[Exchange], bool]:
    """The instructions and answers of a row, and whether the target fell back to the other form."""
    answer, fell_back = target(events_of(row), row["description"], keys.target, keys.clock)
    first = Exchange(first_prompt(row, keys), answer)
    return [first, *(Exchange(t["prompt"], t["answer"]) for t in row["turns"])], fell_back


def first_prompt(row: dict[str, Any], keys: DataKeys) -> str:
    """The row's context text, then the instruction: the row's own, else the run's."""
    prompt = row["prompt"] or instruction(row["id"], keys)
    return "\n\n".join(filter(None, (row["context"], prompt)))


def instruction(sample_id: str, keys: DataKeys) -> str:
    """The run's instruction; from a list, always the same one for the same sample."""
    if keys.prompt is None:
        return INSTRUCTIONS[keys.target]
    if isinstance(keys.prompt, str):
        return keys.prompt
    digest = hashlib.blake2b(sample_id.encode("utf-8", "replace"), digest_size=8).digest()
    return keys.prompt[int.from_bytes(digest, "big") % len(keys.prompt)]


def encode(row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys) -> Encoded:
    """Ids and labels of a row; whole frames are dropped, least valuable first, until it fits.

    Raises:
        TooLong: the text alone is too long.
    """
    row, left_out = shown(row, processor, keys)
    talk, fell_back = exchanges(row, keys)
    ids, labels, kept = fit_frames(talk, row, processor, keys)
    return Encoded(row["id"], ids, labels, kept, fell_back, left_out)


def encode_answers(
    row: dict[str, Any], answers: Sequence[str], processor: SmolVLMProcessor, keys: DataKeys
) -> tuple[list[int], list[list[int]], list[int]]:
    """Ids of a row's prompt, those of each of several answers to it, and indices of the kept frames; whole frames are
    dropped until the prompt and the longest answer fit.

    Raises:
        TooLong: the text alone is too long.
    """
    row, _ = shown(row, processor, keys)
    tokenizer = processor.tokenizer
    texts = [_said(without_marks(answer, processor), processor) for answer in answers]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = max(range(len(ids)), key=lambda n: len(ids[n]))
    talk = [Exchange(first_prompt(row, keys), answers[longest])]
    whole, _, kept = fit_frames(talk, row, processor, keys)
    return whole[: len(whole) - len(ids[longest])], ids, kept


def fit_frames(
    talk: Sequence[Exchange], row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys
) -> tuple[list[int], list[int], list[int]]:
    """Ids, labels and indices of kept frames; whole frames are dropped, least valuable first, until it fits.
    The row must be as it is `shown`.

    Raises:
        TooLong: the text alone is too long.
    """
    system = row["system"] or keys.system or ""
    order = np.argsort(row["ranks"]).tolist()  # most valuable first
    count = len(order)
    while True:
        kept = sorted(order[:count])
        times_s = [row["times_s"][i] for i in kept]
        ids, labels = encode_text(
            talk, times_s, row["duration_s"], processor, system, unit=keys.clock
        )
        excess = len(ids) - keys.max_tokens
        if excess <= 0:
            return ids, labels, kept
        if count == 1:
            raise TooLong(
                f"sample {row['id']}: {len(ids)} tokens with one frame, data.max_tokens={keys.max_tokens}; shorten its text"
            )
        count = max(1, count - max(1, excess // (processor.image_seq_len + 16)))


def encode_text(
    talk: Sequence[Exchange],
    times_s: Sequence[float],
    duration_s: float,
    processor: SmolVLMProcessor,
    system: str = "",
    *,
    unit: Unit = "seconds",
) -> tuple[list[int], list[int]]:
    """Prompt and answers → (ids, labels), both (T,).

    If the last answer is None, the ids end where the model is to generate it.
    """
    tokenizer = processor.tokenizer
    ids: list[int] = []
    labels: list[int] = []
    for number, (prompt, answer) in enumerate(_pieces(talk, processor, system)):
        if number == 0:
            prompt_ids = _with_frames(prompt, times_s, duration_s, processor)
            if unit == "tenths":
                expanded = _with_frames(processor.video_token, times_s, duration_s, processor)
                frames = _in_tenths(tokenizer.decode(expanded), times_s)
                prompt = prompt.replace(processor.video_token, frames)
                prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        else:
            prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids += prompt_ids
        labels += [IGNORED] * len(prompt_ids)
        if answer is not None:
            answer_ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
            ids += answer_ids
            labels += answer_ids
    return ids, labels


def _pieces(
    talk: Sequence[Exchange], processor: SmolVLMProcessor, system: str
) -> Iterator[tuple[str, str | None]]:
    """The chat template's text, cut at the answers: (text before, answer with its end token)."""
    messages: list[dict[str, Any]] = []
    if system.strip():
        messages.append({"role": "system", "content": [_text(system, processor)]})
    so_far = ""
    for number, exchange in enumerate(talk):
        content = [_text(exchange.prompt, processor)]
        if number == 0:
            content.insert(0, {"type": "video", "video": ""})
        messages.append({"role": "user", "content": content})
        whole = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        if not whole.startswith(so_far):
            raise UserError(
                "the checkpoint's chat template changes what was said before when a turn is added; "
                "the answers could not be located in it"
            )
        prompt, answer = whole[len(so_far) :], None
        if exchange.answer is not None:
            reply = _text(exchange.answer, processor)
            answer = _said(reply["text"], processor)
            messages.append({"role": "assistant", "content": [reply]})
        yield prompt, answer
        so_far = whole + (answer or "")


def _said(reply: str, processor: SmolVLMProcessor) -> str:
    """An answer as it stands behind the prompt, with its end."""
    return f" {reply}{processor.end_of_utterance_token}"


def _text(text: str, processor: SmolVLMProcessor) -> dict[str, str]:
    """A text part of a message."""
    return {"type": "text", "text": without_marks(text, processor)}


def without_marks(text: str, processor: SmolVLMProcessor) -> str:
    """The text with the brackets of special tokens removed, so that text never acts as a special token.
    Ordinary words added to the vocabulary, such as `<loc001>` or `[SCENE]`, stay as they are."""
    special = [str(t) for t in processor.tokenizer.added_tokens_decoder.values() if t.special]
    marks = [m for m in (*special, processor.video_token) if len(m) > 2 and m.strip("<>|") != m]
    while found := [mark for mark in marks if mark in text]:  # repeat: `<<image>>` leaves another
        for mark in found:
            text = text.replace(mark, mark.strip("<>|"))
    return text.strip()


def holds_marks(row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys) -> bool:
    """Whether a row's texts contain special tokens, whose brackets `without_marks` removes."""
    talk, _ = exchanges(row, keys)
    texts = [row["system"], *(text for e in talk for text in (e.prompt, e.answer or ""))]
    return any(without_marks(text, processor) != text.strip() for text in texts)


def _with_frames(
    prompt: str, times_s: Sequence[float], duration_s: float, processor: SmolVLMProcessor
) -> list[int]:
    """Ids of the prompt with the frames' placeholder tokens. The processor writes them; it needs only the
    number of frames, not their pixels."""
    stand_in = np.zeros((len(times_s), 4, 4, 3), dtype=np.uint8)  # (F, H, W, C)
    metadata = {
        "total_num_frames": max(1, round(duration_s * TICKS)),
        "fps": float(TICKS),
        "duration": duration_s,
        "frames_indices": [round(t * TICKS) for t in times_s],
    }
    out = processor(
        text=[prompt],
        videos=[stand_in],
        video_metadata=[metadata],
        do_sample_frames=False,
        do_resize=False,
        do_rescale=False,
        do_normalize=False,
        do_pad=False,
        add_special_tokens=False,
        return_tensors="pt",
    )
    return out["input_ids"][0].tolist()


def _in_tenths(text: str, times_s: Sequence[float]) -> str:
    """The processor's text of a video with the times of its frames in tenths."""
    stamps = iter(times_s)

    def exact(found: re.Match[str]) -> str:
        return found[0].replace(
            found[1], stamp(round(next(stamps) * TICKS) * 10 // TICKS, "tenths")
        )

    asked = re.escape(FRAME_TIMESTAMP_MESSAGE).replace(re.escape("{timestamp}"), r"(\d+:\d\d)")
    return re.sub(asked, exact, text)
