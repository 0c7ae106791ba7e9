"""Descriptions of videos by a run's model, with the frame policy and the prompt of its training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from data.errors import UserError, warn
from data.prepared.summary import own_words
from data.regions import Track, parse_boxes
from data.selection.choose import policy_record
from data.selection.config import FrameKeys
from data.sources.files import Listed
from data.sources.parse import without_surrogates
from data.video.info import BadVideo
from train.inference.answering import Ask, Model, WindowAnswer, describe_windows
from train.inference.config import DescribeConfig
from train.inference.generate import answer_length, load_run
from train.inference.rows import frames_for, rows_of, uses_subtitles
from train.inference.whole import Whole, put_together
from train.run.files import POLICY_FILE
from train.run.policy import RunPolicy
from train.run.saved import SavedRun, read_run, untrained
from train.sections import DataKeys, ModelKeys


def whole_of(answers: Sequence[WindowAnswer], run: SavedRun) -> Whole:
    """The description of a video from the answers for all its windows."""
    return put_together([a.row for a in answers], [a.said.text for a in answers], run.data)


def run_for(config: DescribeConfig) -> SavedRun:
    """The run that describes; without `adapter`, an untrained checkpoint with the default frame policy.

    Raises:
        UserError: there is no such run, or it cannot be used.
    """
    if config.adapter is not None:
        return read_run(config.adapter, base=config.model.name, force=config.force)
    name = config.model.name or ModelKeys().name
    if (Path(name) / POLICY_FILE).is_file():  # a run's own model
        return read_run(name, force=config.force)
    if (Path(name) / "adapter_config.json").is_file():
        raise UserError(f"model.name={name}: is an adapter; write adapter={name}")
    return untrained(ModelKeys(name=name), RunPolicy(FrameKeys(), DataKeys(window_clock="own")))


def asking(config: DescribeConfig, run: SavedRun) -> Ask:
    """What answers: the run's model, loaded when the first row is there, or a server of it."""
    length = config.max_new_tokens or answer_length(run)
    if config.server is not None:
        from train.inference.server import Server

        return Server(config.server, run, max_new_tokens=length, at_once=config.batch).describe
    loaded: list[Model] = []

    def ask(rows: Iterable[dict[str, Any]]) -> Iterator[WindowAnswer]:
        rows = iter(rows)
        first = next(rows, None)  # a bad video is found before the model is loaded
        if first is None:
            return
        if not loaded:
            loaded.append(load_run(run, config.model.dtype))
            if not run.is_trained:
                warn(f"note: no adapter=RUN given: {run.folder} describes without fine-tuning")
        every = chain([first], rows)
        yield from describe_windows(
            loaded[0],
            run,
            every,
            max_new_tokens=length,
            batch=config.batch,
            compress=config.compress,
        )

    return ask


def describe(
    config: DescribeConfig, run: SavedRun, videos: Sequence[Listed]
) -> Iterator[dict[str, Any]]:
    """One record per video, as soon as it is described: its text, the events in it, the frames' times, the
    policy; of a video that cannot be used, the reason and the error.

    The run's own frame policy is used; keys given on the command line replace its keys, with a warning.

    Raises:
        UserError: the model cannot be used.
    """
    frames = frames_for(run, config.frames)
    note_own_words(config, run)
    ask = asking(config, run)
    for video in videos:
        answers: list[WindowAnswer] = []
        try:
            rows = rows_of(
                video.path,
                frames,
                run.policy.min_decoded,
                video.prompt or config.prompt,
                video.context or config.context,
                video.system,
                speech=uses_subtitles(config.speech_context, run),
                boxes=boxes_of(config),
            )
            for one in ask(rows):
                one.row.pop("frames")  # of a film there are too many to hold
                answers.append(one)
        except BadVideo as error:
            yield bad_record(video, error.detail, error.reason)
            continue
        _notes(video.path, answers, run)
        yield record_of(video, answers, run, frames)


def boxes_of(config: DescribeConfig) -> Track:
    """The box of the subject that is asked about; none: all of the video is.

    Raises:
        UserError: it is no box in the picture.
    """
    if config.box is None:
        return ()
    try:
        return parse_boxes([config.box if len(config.box) == 5 else (0.0, *config.box)])
    except ValueError as error:
        raise UserError(str(error).replace("boxes[0]", "box", 1)) from None


def note_own_words(config: DescribeConfig, run: SavedRun) -> None:
    """Say that the run also learned from samples that were asked otherwise."""
    if run.own_words and config.prompt is None:
        warn(
            f"note: {run.folder} was also trained on samples asked in their own words "
            f"({own_words(run.own_words)}); here the run's own prompt is used (prompt=… gives another)"
        )


def as_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON, also for readers that take more than a newline for the end of a line, and
    with a file's name that is not UTF-8."""
    text = json.dumps(record, ensure_ascii=False)
    return re.sub("[\x85\u2028\u2029\ud800-\udfff]", lambda end: f"\\u{ord(end[0]):04x}", text)


def bad_record(video: Listed, detail: str, reason: str) -> dict[str, Any]:
    """The record of a video that cannot be described."""
    error = without_surrogates(detail)
    return {"id": video.id, "video": video.path, "error": error, "reason": reason}


def record_of(
    video: Listed, answers: Sequence[WindowAnswer], run: SavedRun, frames: FrameKeys
) -> dict[str, Any]:
    """The record of a video from the answers for all its windows."""
    if failed := next((a.error for a in answers if a.error), ""):
        return bad_record(video, failed, "no answer")
    whole = whole_of(answers, run)
    return {
        "id": video.id,
        "video": video.path,
        "text": whole.text,
        "cut": any(a.said.cut for a in answers),
        "looped": any(a.said.looped for a in answers),
        "events": [asdict(event) for event in whole.events],
        "windows": whole.windows,
        "times_moved": whole.moved,
        "lines_unusable": whole.unusable,
        "times_s": [t for a in answers for t in a.seen_s],
        "frames_left_out": _left_out(answers),
        "context_cut": any(a.context_cut for a in answers),
        "duration_s": answers[-1].row["duration_s"],
        "policy": policy_record(frames),
    }


def _left_out(answers: Sequence[WindowAnswer]) -> int:
    """Frames that did not fit into the prompts."""
    return sum(len(a.row["times_s"]) - len(a.seen_s) for a in answers)


def _notes(path: str, answers: Sequence[WindowAnswer], run: SavedRun) -> None:
    """Warn of what was cut, what repeated itself and what did not fit."""
    cut, unseen = sum(a.said.cut for a in answers), _left_out(answers)
    looped = sum(a.said.looped for a in answers)
    if cut:
        warn(f"note: {path}: {_of(cut, answers)} cut off; give a larger max_new_tokens")
    if looped:
        warn(
            f"note: {path}: {_of(looped, answers)} generated again with a penalty, for it repeated itself"
        )
    if unseen:
        count = sum(len(a.row["times_s"]) for a in answers)
        warn(
            f"note: {path}: {unseen} of {count} frames did not fit into the {run.data.max_tokens} "
            "tokens of the run's prompts; a smaller frames.max spreads those that fit over the whole video"
        )


def _of(count: int, answers: Sequence[WindowAnswer]) -> str:
    return "the answer was" if len(answers) == 1 else f"{count} of {len(answers)} answers were"
