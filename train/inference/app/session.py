"""The page's work on videos: choose frames in a subprocess, then generate with one or two models."""

from __future__ import annotations

import base64
import contextlib
import json
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
from data.pages.contact_sheet import thinned
from data.pages.render import data_url, render
from data.regions import PROMPT, Track
from data.sample import Event
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.outline import outlined
from data.selection.windows import of_all
from data.sources.files import Listed
from data.target import clock, span
from data.video.info import BadVideo
from train.inference.answering import WindowAnswer, describe_windows
from train.inference.config import AppConfig
from train.inference.cues import srt
from train.inference.describe import record_of, whole_of
from train.inference.generate import answer_length, load_run
from train.inference.rows import as_row, frames_for
from train.run.saved import SavedRun, base_of, read_run

HERE = Path(__file__).parent


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


@dataclass(frozen=True)
class Lane:
    """What is said of a video by one model, or what happens in it."""

    name: str
    events: Sequence[Event]
    text: str
    cut: bool = False


def show(
    config: AppConfig,
    models: Models,
    paths: Sequence[str],
    policy: str,
    budget: int,
    *,
    with_base: bool,
    boxes: Track = (),
    on_progress: Any = None,
) -> Iterator[str]:
    """The answers as HTML, every text escaped; of a long video once more after each window. Of several videos
    each has its own player, and one that cannot be used is a line.

    Args:
        boxes: of the one subject of the one video that is asked about.

    Raises:
        gr.Error: one line for the visitor.
    """
    if not paths:
        raise gr.Error("drop a video first")
    try:
        own = models.run.frames
        if policy == own.policy:  # with all its keys from training
            frames = own.model_copy(update={"max": max(budget, own.least)})
        else:
            asked = FrameKeys.model_validate({"policy": policy, "max": budget})
            frames = frames_for(models.run, asked)
    except UserError as error:
        raise gr.Error(str(error)) from None
    if len(paths) == 1:
        yield from _one(config, models, paths[0], frames, with_base, on_progress, boxes)
        return
    done = ""
    for path in paths:
        one = ""
        try:
            for said in _one(config, models, path, frames, with_base, on_progress):
                one = render(HERE / "video.html", name=Path(path).name, path=path, said=said)
                yield done + one
        except gr.Error as error:
            one = render(HERE / "video.html", name=Path(path).name, path="", said=error.message)
        done += one
        yield done


def _one(
    config: AppConfig,
    models: Models,
    path: str,
    frames: FrameKeys,
    with_base: bool,
    on_progress: Any,
    boxes: Track = (),
) -> Iterator[str]:
    """The answers for a video, once more after each window; about one subject, of the whole video at once.

    Raises:
        gr.Error: one line for the visitor.
    """
    started = time.monotonic()
    if boxes:
        frames = frames.model_copy(update={"window_s": None})
    windows = _chosen(config, models, path, frames, on_progress)
    if boxes:
        windows = [outlined(one, boxes, frames) for one in windows]
    prompt = PROMPT if boxes else ""
    chose_s = time.monotonic() - started
    chosen = of_all(windows)
    answers: dict[str, list[WindowAnswer]] = {"tuned": []}
    if with_base and models.has_base:
        answers["base"] = []
    for number, window in enumerate(windows, start=1):
        try:
            for name, said in answers.items():
                said.append(_ask(config, models, as_row(path, window, prompt), base=name == "base"))
        except UserError as error:
            raise gr.Error(str(error)) from None
        took = (
            f"frames chosen in {chose_s:.1f} s, answers in "
            f"{time.monotonic() - started - chose_s:.1f} s"
        )
        if number < len(windows):
            took = f"{number} of {len(windows)} windows described; {took}"
        lanes = []
        for name, some in answers.items():
            whole, cut = whole_of(some, models.run), any(one.said.cut for one in some)
            lanes.append(Lane(name, whole.events, whole.text, cut))
        seen_s = {t for some in answers.values() for one in some for t in one.seen_s}
        files = _files(path, answers["tuned"], models.run, frames)
        yield html(
            lanes,
            chosen,
            frames.policy,
            took,
            seen_s=seen_s,
            limit=_limit(config, models),
            files=files,
        )


def _chosen(
    config: AppConfig, models: Models, path: str, frames: FrameKeys, on_progress: Any
) -> list[ChosenFrames]:
    try:
        return choose_in_subprocess(
            path,
            frames,
            models.run.policy.min_decoded,
            timeout_s=config.timeout_s,
            memory_gib=config.memory_gib,
            on_progress=on_progress,
        )
    except BadVideo as error:
        raise gr.Error(
            f"this file cannot be used: {error.detail.replace(path, Path(path).name)} ({error.reason})"
        ) from None


def first_frame(config: AppConfig, models: Models, path: str | None) -> tuple[float, bytes]:
    """Time and JPEG of an early frame, on which a box can be drawn.

    Raises:
        gr.Error: one line for the visitor.
    """
    if path is None:
        raise gr.Error("drop a video first")
    keys = FrameKeys(policy="uniform", max=16, window_s=None)
    (chosen,) = _chosen(config, models, path, keys, None)
    return chosen.times_s[0], chosen.jpegs[0]


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
    if said.error:
        raise UserError(said.error)
    return said


def _files(
    path: str, answers: Sequence[WindowAnswer], run: SavedRun, frames: FrameKeys
) -> Mapping[str, str]:
    """File names → addresses that hold their content: nothing is stored on the server."""
    name = Path(path).name
    record = record_of(Listed(name, name), answers, run, frames)
    contents = {
        f"{Path(name).stem}.srt": ("application/x-subrip", srt(record)),
        f"{Path(name).stem}.json": (
            "application/json",
            json.dumps(record, ensure_ascii=False, indent=1),
        ),
    }
    return {
        file: f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
        for file, (kind, text) in contents.items()
    }


def html(
    lanes: Sequence[Lane],
    chosen: ChosenFrames,
    policy: str,
    took: str,
    *,
    seen_s: set[float],
    limit: int = 0,
    files: Mapping[str, str] | None = None,
) -> str:
    """What is said of a video, and the frames that the model saw, of a film some of them, as HTML."""
    seen = [i for i, time_s in enumerate(chosen.times_s) if time_s in seen_s]
    frames = [
        {
            "time_s": chosen.times_s[i],
            "reason": chosen.reasons[i],
            "picture": data_url(chosen.jpegs[i]),
        }
        for i in thinned(seen)
    ]
    return render(
        HERE / "answer.html",
        lanes=lanes,
        frames=frames,
        count=len(seen),
        duration_s=max(chosen.duration_s, 1e-3),
        policy=policy,
        clock=clock,
        span=span,
        limit=limit,
        took=took,
        files=files or {},
    )
