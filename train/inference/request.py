"""A video as the body of a chat completion, for servers of a merged model (vLLM, llama.cpp).

Such servers do not support SmolVLM2's video input. The frames are sent as images, with the text of the
training prompt around them, so that the server's token ids are those of training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from num2words import num2words
from transformers import SmolVLMProcessor
from transformers.models.smolvlm.processing_smolvlm import (
    DEFAULT_MEDIA_OUTTRO,
    DEFAULT_VIDEO_INTRO,
    FRAME_TIMESTAMP_MESSAGE,
)

from data.pages.render import data_url
from data.sources.files import Listed
from data.target import UNITS, stamp
from train.batches.encode import TICKS, Exchange, first_prompt, fit_frames, without_marks
from train.batches.shown import shown
from train.inference.config import DescribeConfig
from train.inference.generate import answer_length, processor_of
from train.inference.rows import as_row, frames_for, uses_subtitles, windows_or_refuse, with_speech
from train.run.saved import SavedRun
from train.sections import DataKeys


def requests(
    config: DescribeConfig, run: SavedRun, videos: Sequence[Listed]
) -> Iterator[dict[str, Any]]:
    """One request per video, or per window of a long one, with the run's own frame policy; no weights are loaded.

    Raises:
        UserError: a video or the processor cannot be used.
    """
    frames = frames_for(run, config.frames)
    chosen = [
        (video, window)
        for video in videos
        for window in windows_or_refuse(video.path, frames, run.policy.min_decoded)
    ]
    processor = processor_of(run)
    for video, kept in chosen:
        prompt, context = video.prompt or config.prompt or "", video.context or config.context
        if uses_subtitles(config.speech_context, run):
            context = with_speech(video.path, context)
        row = as_row(video.path, kept, prompt, context, video.system)
        yield {
            "model": config.adapter or str(run.folder),
            "messages": messages_of(row, processor, run.data),
            "max_tokens": config.max_new_tokens or answer_length(run),
            "temperature": 0,
        }


@dataclass(frozen=True)
class Asked:
    """A row as messages."""

    messages: list[dict[str, Any]]
    """What comes before the answer: frames as JPEGs, each after the line with its time."""
    kept: Sequence[int]
    """Positions of the frames that fit."""
    context_cut: bool
    """Lines were left out at the end of its context."""


def messages_of(
    row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys
) -> list[dict[str, Any]]:
    """The messages of `asked_of`."""
    return asked_of(row, processor, keys).messages


def asked_of(row: dict[str, Any], processor: SmolVLMProcessor, keys: DataKeys) -> Asked:
    """The messages before the answer, with the frames that fit.

    Raises:
        TooLong: the text alone does not fit.
    """
    row, left_out = shown(row, processor, keys)
    prompt = first_prompt(row, keys)
    _, _, kept = fit_frames([Exchange(prompt, None)], row, processor, keys)
    length = timedelta(seconds=int(row["duration_s"]))
    words = DEFAULT_VIDEO_INTRO.format(frame_count=num2words(len(kept)), video_duration=length)
    parts: list[dict[str, Any]] = []
    for i in kept:
        # rounded as in a video prompt
        units = round(row["times_s"][i] * TICKS) * UNITS[keys.clock] // TICKS
        time = stamp(units, keys.clock)
        parts.append(_words(words + FRAME_TIMESTAMP_MESSAGE.format(timestamp=time)))
        url = data_url(row["frames"][i]["bytes"])
        parts.append({"type": "image_url", "image_url": {"url": url}})
        words = ""
    parts.append(_words(DEFAULT_MEDIA_OUTTRO + without_marks(prompt, processor)))
    system = without_marks(row["system"] or keys.system or "", processor)
    before = [{"role": "system", "content": [_words(system)]}] if system else []
    return Asked([*before, {"role": "user", "content": parts}], kept, left_out > 0)


def _words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
