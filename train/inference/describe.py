"""Descriptions of videos by a run's model, with the frame policy and the prompt of its training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from peft import PeftModel
from pydantic import ValidationError
from transformers import PreTrainedModel, SmolVLMProcessor

from data.config import resolved
from data.errors import UserError, warn
from data.prepared.summary import own_words
from data.selection.choose import MIN_DECODED, ChosenFrames, policy_record
from data.selection.config import FrameKeys
from data.selection.known_policies import SHARED
from data.selection.windows import choose_windows
from data.video.info import BadVideo
from train.inference.config import DescribeConfig
from train.inference.generate import (
    Generation,
    answer,
    answer_length,
    generation_prompt,
    load_run,
)
from train.inference.whole import Whole, put_together
from train.run.saved import SavedRun


def frames_for(run: SavedRun, given: FrameKeys) -> FrameKeys:
    """The run's own frame policy, with the keys set in `given` replaced. Warns if the run was trained with
    other values.

    Raises:
        UserError: the keys do not go together.
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


Model = tuple[PreTrainedModel | PeftModel, SmolVLMProcessor]


@dataclass(frozen=True)
class WindowAnswer:
    """What was said of one window, or of a whole short video."""

    row: dict[str, Any]
    """As `as_row`."""
    said: Generation
    seen_s: tuple[float, ...]
    """Times of the frames that fit into the prompt, on the video's clock."""


def describe_windows(
    model: Model,
    run: SavedRun,
    rows: Iterable[dict[str, Any]],
    *,
    max_new_tokens: int,
    batch: int = 1,
    max_s: float | None = None,
) -> Iterator[WindowAnswer]:
    """Describe windows, each as soon as its batch is done; `rows` are read a batch at a time.

    Args:
        max_s: seconds after which a batch's generation stops, finished or not.

    Raises:
        UserError: the text alone does not fit into a prompt.
    """
    for some in batched(rows, batch):
        prompts = [generation_prompt(row, model[1], run.data) for row in some]
        said = answer(*model, prompts, max_new_tokens=max_new_tokens, max_s=max_s)
        for row, prompt, one in zip(some, prompts, said, strict=True):
            yield WindowAnswer(row, one, tuple(prompt["times_s"]))


def batched(rows: Iterable[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of `count`, the last one shorter."""
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == count:
            yield some
            some = []
    if some:
        yield some


def whole_of(answers: Sequence[WindowAnswer], run: SavedRun) -> Whole:
    """The description of a video from the answers for all its windows."""
    return put_together([a.row for a in answers], [a.said.text for a in answers], run.data)


def describe(config: DescribeConfig, run: SavedRun) -> Iterator[dict[str, Any]]:
    """One record per video, as soon as it is described: its text, the events in it, the frames' times, the
    policy; of a video that cannot be used, the reason and the error.

    The run's own frame policy is used; keys given on the command line replace its keys, with a warning.

    Raises:
        UserError: the model cannot be used.
    """
    frames = frames_for(run, config.frames)
    if run.own_words and config.prompt is None:
        warn(
            f"note: {run.folder} was also trained on samples asked in their own words "
            f"({own_words(run.own_words)}); here the run's own prompt is used (prompt=… gives another)"
        )
    model: Model | None = None
    length = config.max_new_tokens or answer_length(run)
    for path in config.videos:
        answers: list[WindowAnswer] = []
        try:
            rows = rows_of(path, frames, run.policy.min_decoded, config.prompt, config.context)
            first = next(rows)  # a bad video is found before the model is loaded
            model = model or load_run(run, config.model.dtype)
            rows = chain([first], rows)
            for one in describe_windows(
                model, run, rows, max_new_tokens=length, batch=config.batch
            ):
                one.row.pop("frames")  # of a film there are too many to hold
                answers.append(one)
        except BadVideo as error:
            yield {"video": path, "error": error.detail, "reason": error.reason}
            continue
        _notes(path, answers, run, length)
        whole = whole_of(answers, run)
        yield {
            "video": path,
            "text": whole.text,
            "cut": any(a.said.cut for a in answers),
            "events": [asdict(event) for event in whole.events],
            "windows": whole.windows,
            "times_moved": whole.moved,
            "lines_unusable": whole.unusable,
            "times_s": [t for a in answers for t in a.seen_s],
            "frames_left_out": _left_out(answers),
            "duration_s": answers[-1].row["duration_s"],
            "policy": policy_record(frames),
        }


def _left_out(answers: Sequence[WindowAnswer]) -> int:
    """Frames that did not fit into the prompts."""
    return sum(len(a.row["times_s"]) - len(a.seen_s) for a in answers)


def _notes(path: str, answers: Sequence[WindowAnswer], run: SavedRun, length: int) -> None:
    """Warn of what was cut and what did not fit."""
    cut, unseen = sum(a.said.cut for a in answers), _left_out(answers)
    if cut:
        what = "the answer was" if len(answers) == 1 else f"{cut} of {len(answers)} answers were"
        warn(f"note: {path}: {what} cut at max_new_tokens={length}; give a larger value")
    if unseen:
        count = sum(len(a.row["times_s"]) for a in answers)
        warn(
            f"note: {path}: {unseen} of {count} frames did not fit into the {run.data.max_tokens} "
            "tokens of the run's prompts; a smaller frames.max spreads those that fit over the whole video"
        )


def rows_of(
    path: str,
    keys: FrameKeys,
    min_decoded: float = MIN_DECODED,
    prompt: str | None = None,
    context: str = "",
) -> Iterator[dict[str, Any]]:
    """A new video in the form of prepared rows, one for each window, as they are decoded.

    Raises:
        BadVideo: the video cannot be used.
    """
    for chosen in choose_windows(path, keys, min_decoded):
        yield as_row(path, chosen, prompt or "", context)


def windows_or_refuse(
    path: str, keys: FrameKeys, min_decoded: float = MIN_DECODED
) -> list[ChosenFrames]:
    """The chosen frames of each window of a new video.

    Raises:
        UserError: the video cannot be used.
    """
    try:
        return list(choose_windows(path, keys, min_decoded))
    except BadVideo as error:
        raise UserError(f"{error.detail} ({error.reason})") from None


def as_row(path: str, chosen: ChosenFrames, prompt: str = "", context: str = "") -> dict[str, Any]:
    """The frames of a window of a new video, or of a whole short one, in the form of a prepared row, without
    a description."""
    start_s, end_s = chosen.part_s or (0.0, chosen.duration_s)
    return {
        "id": path,
        "frames": [{"bytes": jpeg} for jpeg in chosen.jpegs],
        "times_s": list(chosen.times_s),
        "duration_s": chosen.duration_s,
        "start_s": start_s,
        "end_s": end_s,
        "ranks": list(chosen.ranks),
        "prompt": prompt,
        "system": "",
        "context": context,
    }
