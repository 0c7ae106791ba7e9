"""A language model as judge: are the events of the reference described, rightly, and how well?

Events (after AutoDQ, Wang et al., "Tarsier", 2024): each event of the reference is judged against
the whole prediction and each predicted event against the whole reference: entailed, not mentioned or
contradicted. Recall and precision are the shares entailed. The share of predicted events that are
contradicted is what was made up.

Captions (after PLM's RDCap, Cho et al. 2025): every pair of events that overlap in time gets a grade
from 0 to 10; a tenth of it is the text score of SODA c.

With frames: each event, of the prediction and of the reference, is also judged against some pictures of the video.

The questions are our own, so figures can be compared with each other but not with those papers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import Event
from data.target import clock
from train.chat import Picture, PictureQuestion, Question
from train.metrics.grounding import tious
from train.metrics.soda import in_time, soda

Ask = Callable[[Sequence[Question]], Sequence[str]]
"""Questions → answers, in order."""
MOST_CHARACTERS = 6000
"""Maximum characters of one description that the judge is shown."""
MOST_EVENTS = 10
"""Maximum events taken from a description without times, as in AutoDQ."""

EXTRACT = """\
List what happens in the video that this text describes: at most {most} events, in order, each an \
action or a change in ten words or less. Leave out how things look, what is only supposed, and how it \
was filmed. Answer with JSON alone: {{"events": ["…", …]}}

Text:
\"\"\"
{text}
\"\"\""""
RELATE = """\
A description of a video, then numbered events. For each event say whether the description entails it \
("entailed": says it or makes it certain), contradicts it ("contradicted") or does neither \
("neutral"). Take the description as the only thing known. Answer with JSON alone, one word per event \
in order: {{"relations": ["entailed" | "neutral" | "contradicted", …]}}

Description:
\"\"\"
{text}
\"\"\"

Events:
{events}"""
RATE = """\
How well does a caption of a stretch of video tell what a reference caption of it tells? 10: all of \
it, rightly; 0: none of it. Take points off for what is missing and for what is wrong; more detail \
than the reference has costs nothing unless it contradicts it. Answer with JSON alone: {{"score": N}}

Reference: {true}
Caption: {said}"""
LOOK = """\
Above are pictures of a video in order, taken at {times}. Then numbered events. For each event say \
whether the pictures show it ("entailed": they show it or make it very likely), contradict it \
("contradicted": a thing, a colour, a place or an action of it is otherwise in them) or do not decide \
("neutral"). Answer with JSON alone, one word per event in order: {{"relations": ["entailed" | \
"neutral" | "contradicted", …]}}

Events:
{events}"""
LOOK_VERSION = hashlib.sha256(LOOK.encode()).hexdigest()[:12]
PROMPTS = hashlib.sha256("\n".join((EXTRACT, RELATE, RATE)).encode()).hexdigest()[:12]
"""Hash that identifies this version of the questions."""
_JSON = re.compile(r"\{.*\}", re.S)
RELATIONS = ("entailed", "neutral", "contradicted")


@dataclass(frozen=True)
class Judged:
    """Scores of one video; NaN if the judge's answer could not be read or there was nothing to judge."""

    recall: float
    precision: float
    contradicted: float
    soda_c: float
    seen_precision: float = float("nan")
    """Share of the predicted events that its frames show."""
    seen_contradicted: float = float("nan")
    seen_reference: float = float("nan")
    """Share of the reference's events that its frames show."""
    verdicts: tuple[tuple[str, str], ...] = ()
    """Of each predicted event, by the reference's text and by the frames."""


@dataclass(frozen=True)
class JudgeCase:
    """One video: events and whole text of the reference (`true`) and of the prediction (`said`)."""

    true: Sequence[Event]
    true_text: str
    said: Sequence[Event]
    said_text: str
    pictures: tuple[Picture, ...] = ()
    """Frames that the judge is sent; none: it reads texts alone."""


def judge(cases: Sequence[JudgeCase], ask: Ask) -> tuple[list[Judged], int]:
    """(scores of each case, number of unreadable answers). All questions of one kind are asked together.

    An empty prediction gets 0 in recall, precision and SODA c without a question.
    """
    true_events, lost = _events([(c.true, c.true_text) for c in cases], ask)
    said_events, lost_too = _events([(c.said, c.said_text) for c in cases], ask)
    recall, lost_recall = _relations(
        [(e, c.said_text) for e, c in zip(true_events, cases, strict=True)], ask
    )
    precision, lost_precision = _relations(
        [(e, c.true_text) for e, c in zip(said_events, cases, strict=True)], ask
    )
    shown, lost_shown = _shown(said_events, cases, ask)
    stated, lost_stated = _shown(true_events, cases, ask)
    graded, lost_grades = _soda(cases, ask)
    results = []
    for case, told, right, seen, true, grade in zip(
        cases, recall, precision, shown, stated, graded, strict=True
    ):
        of_true = _share(true, "entailed")
        if not case.said_text.strip():
            nothing = 0.0 if case.true else float("nan")
            results.append(Judged(0.0, 0.0, float("nan"), nothing, seen_reference=of_true))
            continue
        results.append(
            Judged(
                _share(told, "entailed"),
                _share(right, "entailed"),
                _share(right, "contradicted"),
                grade,
                _share(seen, "entailed"),
                _share(seen, "contradicted"),
                of_true,
                tuple(zip(right, seen, strict=True)) if right and seen else (),
            )
        )
    lost += lost_too + lost_recall + lost_precision + lost_shown + lost_stated + lost_grades
    return results, lost


def readable(answer: str) -> bool:
    """Whether an answer holds what one of the questions asks for."""
    return any(_read(answer, key) is not None for key in ("events", "relations", "score"))


def questions(cases: Sequence[JudgeCase]) -> list[Question]:
    """The questions that `judge` would ask, for an estimate. For prose, one placeholder event stands for
    those that the judge will find."""
    asked: list[Question] = []
    one_event = json.dumps({"events": ["…"]})

    def note(prompts: Sequence[Question]) -> list[str]:
        asked.extend(prompts)
        return [one_event] * len(prompts)

    judge(cases, note)
    return asked


def _share(relations: Sequence[str] | None, wanted: str) -> float:
    return relations.count(wanted) / len(relations) if relations else float("nan")


def _events(sides: Sequence[tuple[Sequence[Event], str]], ask: Ask) -> tuple[list[list[str]], int]:
    """(events of each text, number of unreadable answers). For a text without events, the judge finds
    them."""
    found = [[e.text for e in in_time(events) if e.text] for events, _ in sides]
    open_ones = [i for i, (_, text) in enumerate(sides) if not found[i] and text.strip()]
    prompts = [EXTRACT.format(most=MOST_EVENTS, text=_cut(sides[i][1])) for i in open_ones]
    lost = 0
    for i, answer in zip(open_ones, ask(prompts), strict=True):
        events = _read(answer, "events")
        if isinstance(events, list) and all(isinstance(e, str) for e in events):
            found[i] = events[:MOST_EVENTS]
        else:
            lost += 1
    return found, lost


def _relations(
    pairs: Sequence[tuple[Sequence[str], str]], ask: Ask
) -> tuple[list[list[str] | None], int]:
    """(relations of each list of events to its text, number of unreadable answers). The relations are None
    if nothing was asked or the answer could not be read."""
    asked: dict[int, Question] = {
        i: RELATE.format(text=_cut(text), events=_numbered(events))
        for i, (events, text) in enumerate(pairs)
        if events and text.strip()
    }
    return _related([events for events, _ in pairs], asked, ask)


def _shown(
    found: Sequence[Sequence[str]], cases: Sequence[JudgeCase], ask: Ask
) -> tuple[list[list[str] | None], int]:
    """(relations of each list of events to the case's pictures, number of unreadable answers)."""
    asked: dict[int, Question] = {}
    for i, (events, case) in enumerate(zip(found, cases, strict=True)):
        if events and case.pictures:
            times = ", ".join(clock(time_s) for time_s, _ in case.pictures)
            text = LOOK.format(times=times, events=_numbered(events))
            asked[i] = PictureQuestion(text, case.pictures)
    return _related(found, asked, ask)


def _numbered(events: Sequence[str]) -> str:
    return "\n".join(f"{n}. {_cut(e)}" for n, e in enumerate(events, start=1))


def _related(
    found: Sequence[Sequence[str]], asked: Mapping[int, Question], ask: Ask
) -> tuple[list[list[str] | None], int]:
    """The relations that were asked for, by the number of the list of events; None: not asked, or not readable."""
    related: list[list[str] | None] = [None] * len(found)
    lost = 0
    for i, answer in zip(asked, ask(list(asked.values())), strict=True):
        words = _read(answer, "relations")
        if (
            isinstance(words, list)
            and len(words) == len(found[i])
            and all(w in RELATIONS for w in words)
        ):
            related[i] = words
        else:
            lost += 1
    return related, lost


def _soda(cases: Sequence[JudgeCase], ask: Ask) -> tuple[list[float], int]:
    """SODA c with the judge's grades; a pair whose grade cannot be read counts 0."""
    pairs: dict[tuple[str, str], None] = {}
    for case in cases:
        if case.true and case.said:
            for i, j in np.argwhere(tious(case.true, case.said) > 0).tolist():
                pairs[case.said[j].text, case.true[i].text] = None
    prompts = [RATE.format(true=_cut(true), said=_cut(said)) for said, true in pairs]
    grades: dict[tuple[str, str], float] = {}
    lost = 0
    for pair, answer in zip(pairs, ask(prompts), strict=True):
        grade = _read(answer, "score")
        if isinstance(grade, int | float) and not isinstance(grade, bool) and 0 <= grade <= 10:
            grades[pair] = grade / 10
        else:
            grades[pair] = 0.0
            lost += 1
    scores = []
    for case in cases:
        if not case.true:
            scores.append(float("nan"))
            continue
        both = soda(case.said, case.true, lambda asked: np.array([grades[pair] for pair in asked]))
        scores.append(both.c[2])
    return scores, lost


def _cut(text: str) -> str:
    """`text` cut to `MOST_CHARACTERS`, and unable to end the quotation that it is put in."""
    return text[:MOST_CHARACTERS].replace('"""', "'''")


def _read(answer: str, key: str) -> object:
    """A field of the JSON object in an answer, whatever text is around it; None if there is none."""
    found = _JSON.search(answer)
    try:
        content = json.loads(found[0]) if found else None
    except (ValueError, RecursionError):
        return None
    return content.get(key) if isinstance(content, dict) else None
