"""From the windows of a video to its description: each window told with what came before, then merged upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from data.sample import Event
from data.window import Window, joined
from train.chat import Picture, Question
from train.teacher.words import Scene, Told, ask_merge, ask_window, read_merge, read_window

Ask = Callable[[Question], str]


class Unreadable(Exception):
    """The teacher's answer could not be read, asked twice."""


@dataclass(frozen=True)
class Shown:
    """A window as the teacher sees it."""

    window: Window
    pictures: tuple[Picture, ...]
    said: str = ""
    """What is spoken in it, as context text."""


@dataclass(frozen=True)
class Captioned:
    """What the teacher tells of a video."""

    events: tuple[Event, ...]
    description: str


def caption(
    windows: Sequence[Shown], duration_s: float, ask: Ask, *, group: int, hint: str
) -> Captioned:
    """Ask about each window in turn, then merge `group` texts at a time until one is left.

    Raises:
        Unreadable: an answer could not be read.
    """
    scenes: list[Scene] = []
    for shown in windows:
        before = scenes[-1].told.summary if scenes else ""
        scenes.append(_window(shown, duration_s, ask, before, hint))
    events = joined([s.window for s in windows], [scene.events for scene in scenes])
    texts = [scene.told for scene in scenes]
    while len(texts) > 1:
        texts = _merged(texts, ask, group, hint)
    return Captioned(tuple(events), texts[0].summary)


def _window(shown: Shown, duration_s: float, ask: Ask, before: str, hint: str) -> Scene:
    for again in (False, True):
        question = ask_window(
            shown.window,
            shown.pictures,
            duration_s,
            before=before,
            said=shown.said,
            hint=hint,
            again=again,
        )
        scene = read_window(ask(question), shown.window)
        if scene is not None:
            return scene
    raise Unreadable("no line of an event, or no summary")


def _merged(texts: Sequence[Told], ask: Ask, group: int, hint: str) -> list[Told]:
    """The next level: as even groups as there can be, each with the text of the one before."""
    merged: list[Told] = []
    groups = _groups(len(texts), group)
    for start, end in groups:
        parts = texts[start:end]
        window = Window(parts[0].window.start_s, parts[-1].window.end_s)
        if len(parts) == 1:
            merged.append(parts[0])
            continue
        before = merged[-1].summary if merged else ""
        text = read_merge(ask(ask_merge(parts, whole=len(groups) == 1, before=before, hint=hint)))
        if text is None:
            raise Unreadable("an empty description")
        merged.append(Told(window, text))
    return merged


def num_questions(windows: int, group: int) -> int:
    """How many questions a video of so many windows takes, if all answers can be read."""
    total, left = windows, windows
    while left > 1:
        groups = _groups(left, group)
        total += sum(end - start > 1 for start, end in groups)
        left = len(groups)
    return total


def _groups(texts: int, most: int) -> list[tuple[int, int]]:
    """Start and end of as few and as even groups as there can be of at most so many texts."""
    count = ceil(texts / most)
    return list(pairwise(round(i * texts / count) for i in range(count + 1)))
