"""What the teacher is asked, and how its answers are read.

A window's frames become timed events and a summary; summaries are merged level by level, each with what came before, as
LLaVA-Video's captions were made (Zhang et al. 2024: recursive descriptions of ten seconds, thirty, and the whole). Events
are never merged by the model, so none is lost.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from data.sample import Event
from data.target import clock, parse_timeline
from data.window import Window, on_video_clock
from train.chat import Picture, PictureQuestion, Question

WINDOW = """\
Above are {count} pictures of a video in order, taken at {times}. They show it from {start} to {end}{length}.{hint}{before}{said}

Describe what happens in this part, only what the pictures show. First one line for each event, in order, with its times on \
the video's clock, like this:
[{start} - {end}] what happens, who does it, where, and what is seen of it, in a sentence or two.
Begin a new line where the scene or the action changes. After the last event write one line that begins with SUMMARY: and \
tells this part in two to four sentences. Write nothing else."""
MERGE = """\
Below are descriptions of consecutive parts of {whole}, in order, with their times.{hint}{before}

{parts}

Write one description of all of these parts: every event that matters, in order, without repeating what goes on from one \
part to the next, and without adding anything. Do not mention parts or times. Write the description alone."""
AGAIN = """

Your last answer could not be read. Lines of events must look exactly like [{start} - {end}] text, and the last line must \
begin with SUMMARY: ."""
VERSION = hashlib.sha256("\n".join((WINDOW, MERGE, AGAIN)).encode()).hexdigest()[:12]
"""Hash that identifies this version of the words."""
MOST_BEFORE = 1200
"""Characters of what was told before that are given along."""
_SUMMARY = re.compile(r"^\W*summary\W*:?\s*", re.I | re.M)


@dataclass(frozen=True)
class Told:
    """What is told of a part of a video."""

    window: Window
    summary: str


@dataclass(frozen=True)
class Scene:
    """What is told of a window: its events, on the video's clock, and a summary."""

    told: Told
    events: tuple[Event, ...]


def ask_window(
    window: Window,
    pictures: tuple[Picture, ...],
    duration_s: float,
    *,
    before: str,
    said: str,
    hint: str,
    again: bool,
) -> PictureQuestion:
    """The question about a window. `said`: what is spoken in it; `again`: the answer before could not be read."""
    start, end = clock(window.start_s), clock(max(window.end_s, window.start_s + 1))
    whole = window.start_s == 0 and window.end_s >= duration_s
    text = WINDOW.format(
        count=len(pictures),
        times=", ".join(clock(time_s) for time_s, _ in pictures),
        start=start,
        end=end,
        length="" if whole else f" of {clock(duration_s)}",
        hint=_hint(hint),
        before=_before(before),
        said=f"\n\n{said}" if said else "",
    )
    return PictureQuestion(text + AGAIN.format(start=start, end=end) if again else text, pictures)


def ask_merge(parts: Sequence[Told], *, whole: bool, before: str, hint: str) -> str:
    """The question that makes one text of several."""
    lines = [
        f"[{clock(part.window.start_s)} - {clock(part.window.end_s)}] {part.summary}"
        for part in parts
    ]
    what = "a video" if whole else "a stretch of a video"
    return MERGE.format(
        whole=what, hint=_hint(hint), before=_before(before), parts="\n\n".join(lines)
    )


def _hint(hint: str) -> str:
    return f" All of these videos are: {hint}." if hint else ""


def _before(text: str) -> str:
    return f"\n\nWhat was told before: {text[-MOST_BEFORE:]}" if text else ""


def read_window(answer: str, window: Window) -> Scene | None:
    """The events and the summary of an answer; None if it has neither event nor summary where they should be. Times
    outside the window are moved to its edge."""
    found = list(_SUMMARY.finditer(answer))
    if not found:
        return None
    lines, summary = answer[: found[-1].start()], answer[found[-1].end() :]
    events, _, _ = on_video_clock(parse_timeline(lines)[0], window, "video")
    events = [event for event in events if event.text]
    summary = " ".join(summary.split())
    if not events or not summary:
        return None
    return Scene(Told(window, summary), tuple(events))


def is_told(question: Question | None, answer: str) -> bool:
    """Whether an answer can be read: of a window, a line of an event and a summary, wherever its times are."""
    if isinstance(question, PictureQuestion):
        return read_window(answer, Window(0.0, float("inf"))) is not None
    return bool(answer.strip())


def read_merge(answer: str) -> str | None:
    """A merged text; None if there is none."""
    return " ".join(answer.split()) or None
