"""What FineVideo's notes say of a video, as events and as prose.

FineVideo is a timeline of short notes, not of captions: a scene has a title, activities of about
seven words, props and a mood. A quarter of the notes tell what is said, which no frame shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from data.sample import Event, Repair
from data.sources.fields import Span, clock_s, mended, objects, plain
from data.target import clock

SPEECH = re.compile(
    r"\b(?:speak\w*|spoke|speech|say\w*|said|talk\w*|explain\w*|explanation|interview\w*|narrat\w*|"
    r"discuss\w*|mention\w*|tell\w*|told|ask\w*|answer\w*|comment\w*|announc\w*|introduc\w*|"
    r"describ\w*|recount\w*|remark\w*|voice-?over|monologue|converses?|conversation)\b",
    re.I,
)
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "her",
        "his",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "over",
        "she",
        "he",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "they",
        "this",
        "to",
        "up",
        "was",
        "were",
        "with",
        "while",
        "who",
    ]
)
SAME = 0.8
"""A sentence with this share of its words in an earlier one says nothing new."""


def times_of(item: dict[str, Any]) -> tuple[float | None, float | None]:
    """Start and end, under whichever of the dataset's names."""
    value = item.get("timestamps", item.get("timestamp"))
    if not isinstance(value, dict):
        return clock_s(value), None
    return (
        clock_s(value.get("start_timestamp", value.get("start"))),
        clock_s(value.get("end_timestamp", value.get("end"))),
    )


def _notes(items: Any, *, speech: bool) -> list[str]:
    texts = (plain(item.get("description")) for item in objects(items))
    return [t for t in texts if t and (speech or not SPEECH.search(t))]


def scene_notes(scene: dict[str, Any], *, speech: bool) -> list[str]:
    """What happens in a scene: its activities by time, else its narrative."""
    activities = sorted(objects(scene.get("activities")), key=lambda a: times_of(a)[0] or 0.0)
    return _notes(activities, speech=speech) or _notes(
        scene.get("narrativeProgression"), speech=speech
    )


def scene_events(
    scenes: list[dict[str, Any]], duration_s: float | None, *, speech: bool
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    """One event a scene: title and what happens in it."""
    spans = []
    for scene in scenes:
        told = new_sentences([plain(scene.get("title")), *scene_notes(scene, speech=speech)], [])
        spans.append(Span(*times_of(scene), " ".join(told)))
    return mended(spans, duration_s)


def activity_events(
    scenes: list[dict[str, Any]], duration_s: float | None, *, speech: bool
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    """One event an activity."""
    spans, spoken = [], 0
    for scene in scenes:
        for activity in objects(scene.get("activities")):
            text = plain(activity.get("description"))
            if not speech and SPEECH.search(text):
                spoken += 1
            else:
                spans.append(Span(*times_of(activity), text))
    events, repairs = mended(spans, duration_s)
    return events, (*repairs, Repair("speech left out", spoken)) if spoken else repairs


def paragraph(description: str, scenes: list[dict[str, Any]], *, speech: bool) -> str:
    """Description, then scene by scene title, activities, props and mood; nothing twice."""
    told: list[str] = []
    told += new_sentences([description], told)
    for scene in scenes:
        pieces = [plain(scene.get("title")), *scene_notes(scene, speech=speech)]
        told += new_sentences(pieces, told)
        said = _words(" ".join(told))
        props = [plain(p.get("name")) for p in objects(scene.get("props"))]
        unseen = [p for p in dict.fromkeys(props) if p and not _words(p) <= said]
        if unseen:
            told.append(f"There {'are' if len(unseen) > 1 else 'is'} {_list(unseen)}.")
        mood = scene.get("mood")
        mood = plain(mood.get("description")) if isinstance(mood, dict) else plain(mood)
        first = re.split(r"[.;,]", mood)[0].strip().lower()
        if first and first != "neutral":
            told += new_sentences([f"The mood is {first}"], told)
    return " ".join(told)


def new_sentences(texts: Iterable[str], told: list[str]) -> list[str]:
    """Texts as sentences, without those that say what `told` or an earlier one says."""
    kept: list[str] = []
    for text in texts:
        words = _words(text)
        if not words or any(
            len(words & _words(s)) >= SAME * len(words) for s in [*told[-12:], *kept]
        ):
            continue
        kept.append(_sentence(text))
    return kept


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) - _STOP


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def _list(names: list[str]) -> str:
    names = [name[:1].lower() + name[1:] for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def speech_lines(segments: Any) -> str:
    """Time-coded speech, a line each; what is only a sound in brackets goes."""
    lines = []
    for segment in objects(segments):
        start_s, end_s = clock_s(segment.get("start")), clock_s(segment.get("end"))
        text = plain(segment.get("text"))
        if start_s is None or end_s is None or not re.sub(r"[\[(].*?[\])]|\W", "", text):
            continue
        lines.append(f"[{clock(int(start_s))} - {clock(int(end_s))}] {text}")
    return "\n".join(["Speech:", *lines]) if lines else ""
