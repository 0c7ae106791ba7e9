"""New videos in the form of prepared rows, with the frame policy of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from data.config import resolved
from data.errors import UserError, warn
from data.regions import PROMPT, Track
from data.selection.choose import MIN_DECODED
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys
from data.selection.known_policies import SHARED
from data.selection.outline import outlined
from data.selection.windows import choose_windows
from data.target import speech_context
from data.video.info import BadVideo
from data.video.subtitles import BadSubtitles, subtitles
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
    if "selector" in changed:  # another one has another hash
        kept["selector_sha256"] = None
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


def rows_of(
    path: str,
    keys: FrameKeys,
    min_decoded: float = MIN_DECODED,
    prompt: str | None = None,
    context: str = "",
    system: str = "",
    *,
    speech: bool = False,
    boxes: Track = (),
) -> Iterator[dict[str, Any]]:
    """A new video in the form of prepared rows, one for each window, as they are decoded.

    Args:
        speech: with its subtitles in the context.
        boxes: of the one subject that is asked about, in all of the video.

    Raises:
        BadVideo: the video cannot be used.
    """
    if boxes:
        keys, prompt = keys.model_copy(update={"window_s": None}), prompt or PROMPT
    for number, chosen in enumerate(choose_windows(path, keys, min_decoded)):
        if boxes:
            chosen = outlined(chosen, boxes, keys)
        if speech and number == 0:  # a bad video is found first
            context = with_speech(path, context)
        yield as_row(path, chosen, prompt or "", context, system)


def uses_subtitles(asked: bool | None, run: SavedRun) -> bool:
    """Whether what subtitles say is put before the instruction: as asked, else as in the run's training."""
    return run.policy.speech_context if asked is None else asked


def with_speech(path: str, context: str) -> str:
    """The context, then what a video's subtitles say; a note if they cannot be read."""
    try:
        said = subtitles(path)
    except BadSubtitles as error:
        warn(f"note: {path}: its subtitles cannot be read and are left out ({error})")
        return context
    spoken = speech_context((cue.start_s, cue.end_s, cue.text) for cue in said)
    return "\n\n".join(filter(None, (context, spoken)))


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


def as_row(
    path: str, chosen: ChosenFrames, prompt: str = "", context: str = "", system: str = ""
) -> dict[str, Any]:
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
        "system": system,
        "context": context,
    }
