"""The page's work on a video: choose frames in a subprocess, then generate with one or two models."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError
from data.offline.row import choose_in_subprocess
from data.pages.render import data_url, render
from data.selection.choose import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.windows import of_all
from data.target import clock
from data.video.info import BadVideo
from train.inference.answering import WindowAnswer, describe_windows
from train.inference.config import AppConfig
from train.inference.describe import whole_of
from train.inference.generate import answer_length, load_run
from train.inference.rows import as_row, frames_for
from train.run.saved import SavedRun, base_of, read_run


@dataclass(frozen=True)
class Models:
    """The tuned model and, to compare with, its base model."""

    run: SavedRun
    tuned: PreTrainedModel | PeftModel
    base: PreTrainedModel | PeftModel | None
    """The base of a whole model. None for an adapter, which is disabled instead."""
    processor: SmolVLMProcessor
    lock: threading.Lock
    has_base: bool
    """Whether visitors can compare with the base model."""

    @classmethod
    def load(cls, config: AppConfig) -> Models:
        """Load the models that the configuration names.

        Raises:
            UserError: the adapter or its base cannot be used.
        """
        run = read_run(config.adapter, base=config.model.name, force=config.force)
        tuned, processor = load_run(run, config.model.dtype)
        base = None
        if config.base and not run.is_adapter:
            base, _ = load_run(base_of(run), config.model.dtype)
        return cls(run, tuned, base, processor, threading.Lock(), has_base=config.base)


def show(
    config: AppConfig,
    models: Models,
    path: str | None,
    policy: str,
    budget: int,
    *,
    with_base: bool,
) -> Iterator[str]:
    """The answers as HTML, every text escaped; of a long video once more after each window.

    Raises:
        gr.Error: one line for the visitor.
    """
    if path is None:
        raise gr.Error("drop a video first")
    started = time.monotonic()
    try:
        own = models.run.frames
        if policy == own.policy:  # with all its keys from training
            frames = own.model_copy(update={"max": budget})
        else:
            asked = FrameKeys.model_validate({"policy": policy, "max": budget})
            frames = frames_for(models.run, asked)
        windows = choose_in_subprocess(
            path,
            frames,
            models.run.policy.min_decoded,
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
        )
    except BadVideo as error:
        raise gr.Error(
            f"this file cannot be used: {error.detail.replace(path, Path(path).name)} ({error.reason})"
        ) from None
    except UserError as error:
        raise gr.Error(str(error)) from None
    chose_s = time.monotonic() - started
    chosen = of_all(windows)
    answers: dict[str, list[WindowAnswer]] = {"tuned": []}
    if with_base and models.has_base:
        answers["base"] = []
    for number, window in enumerate(windows, start=1):
        try:
            for name, said in answers.items():
                said.append(_ask(config, models, as_row(path, window), base=name == "base"))
        except UserError as error:
            raise gr.Error(str(error)) from None
        took = (
            f"frames chosen in {chose_s:.1f} s, answers in "
            f"{time.monotonic() - started - chose_s:.1f} s"
        )
        if number < len(windows):
            took = f"{number} of {len(windows)} windows described; {took}"
        yield _html(_limit(config, models), chosen, frames.policy, answers, models.run, took)


def _limit(config: AppConfig, models: Models) -> int:
    return config.max_new_tokens or answer_length(models.run)


def _ask(config: AppConfig, models: Models, row: dict[str, Any], *, base: bool) -> WindowAnswer:
    model = models.base if base and models.base is not None else models.tuned
    off = (
        model.disable_adapter()
        if base and isinstance(model, PeftModel)
        else contextlib.nullcontext()
    )
    with models.lock, off:  # disabling an adapter affects every request
        (said,) = describe_windows(
            (model, models.processor),
            models.run,
            [row],
            max_new_tokens=_limit(config, models),
            max_s=config.timeout_s,
        )
    return said


def _html(
    limit: int,
    chosen: ChosenFrames,
    policy: str,
    answers: Mapping[str, Sequence[WindowAnswer]],
    run: SavedRun,
    took: str,
) -> str:
    """The answers and the frames that the model saw, as HTML."""
    lanes = []
    for name, windows in answers.items():
        whole = whole_of(windows, run)
        cut = any(one.said.cut for one in windows)
        lanes.append({"name": name, "events": whole.events, "text": whole.text, "cut": cut})
    seen_s = {t for windows in answers.values() for one in windows for t in one.seen_s}
    frames = [
        {"time_s": t, "reason": why, "picture": data_url(jpeg)}
        for t, why, jpeg in zip(chosen.times_s, chosen.reasons, chosen.jpegs, strict=True)
        if t in seen_s
    ]
    return render(
        Path(__file__).parent / "answer.html",
        lanes=lanes,
        frames=frames,
        duration_s=max(chosen.duration_s, 1e-3),
        policy=policy,
        clock=clock,
        limit=limit,
        took=took,
    )
