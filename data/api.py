"""What people call from Python: `from data import choose_frames, prepare, open_prepared`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.config import validated
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare as run_prepare
from data.prepared.dataset import Prepared
from data.selection.choose import choose_frames as choose
from data.selection.chosen_frames import ChosenFrames
from data.selection.config import FrameKeys


def choose_frames(
    video: str | Path,
    policy: str = "scene",
    max: int = 32,
    *,
    options: Mapping[str, Any] | None = None,
) -> ChosenFrames:
    """The frames of a video that a policy keeps, as JPEGs with their true times.

    Args:
        video: path of a video file.
        policy: name of a frame policy, as `frames.policy`.
        max: at most this many frames.
        options: more keys of the policy, as `{"px": 384}` for `frames.px=384`.

    Returns:
        Frames in time order; a notebook shows them. `times_s` are seconds from the video's start.

    Raises:
        UserError: no such policy or key.
        BadVideo: the file cannot be used; `error.reason` is one of quarantine's.

    Example:
        >>> frames = choose_frames("holiday.mp4", max=4)
        >>> frames
        ChosenFrames(4 frames of 9.5 s: 1.1, 3.3, 6.1, 8.9 s)
        >>> frames.images()[0].size
        (96, 96)
    """
    values = {"policy": policy, "max": max, **(options or {})}
    return choose(str(video), validated(FrameKeys, values))


def prepare(
    source: str | Path | Mapping[str, Any],
    out: str | Path,
    policy: str = "scene",
    max: int = 32,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
) -> Prepared:
    """Prepare a dataset for training: each video's frames are chosen once, in worker processes. A stopped
    run continues. In a script, call it under `if __name__ == "__main__":`, for the workers import it.

    Args:
        source: a JSON Lines file, or keys as of `source.*`: `{"name": "microworld", "limit": 8}`.
        out: folder or URL of the prepared dataset.
        policy, max, options: as in `choose_frames`.
        workers: videos decoded at a time; None: as cores and memory allow.

    Returns:
        The dataset, opened. `rows()` are its rows; bad videos are in `quarantine.jsonl`.

    Raises:
        UserError: the source cannot be read, or `out` holds something else.

    Example:
        >>> made = prepare("clips.jsonl", "prepared/clips", max=4, workers=1)
        >>> made.manifest["rows"]
        1
    """
    keys = dict(source) if isinstance(source, Mapping) else {"name": "jsonl", "path": str(source)}
    frames = {"policy": policy, "max": max, **(options or {})}
    values = {"source": keys, "frames": frames, "out": str(out), "workers": workers}
    run_prepare(validated(PrepareConfig, values))
    return Prepared.open(str(out))


def open_prepared(path: str | Path) -> Prepared:
    """A prepared dataset in a folder or at a URL (`hf://datasets/you/name`), pinned and checked.

    Raises:
        UserError: there is none, or its run has not finished.

    Example:
        >>> row = open_prepared("prepared/clips").rows()[0]
        >>> row["events"]
        [{'start_s': 0.0, 'end_s': 1.2, 'text': 'A bus passes.'}]
        >>> len(row["frames"]), len(row["times_s"])
        (4, 4)
    """
    return Prepared.open(path)
