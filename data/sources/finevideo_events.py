"""FineVideo's notes on a video, as events and as prose.

FineVideo is a timeline of short notes, not of captions: a scene has a title, activities of about
seven words, props and a mood. A third of the notes report speech, which no frame shows; some describe
the annotation itself. Sentences are kept as written. Props and moods are not sentences: they are
listed after a label (`Seen:`, `Mood:`), since a sentence around them would have to change their words.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import regex

from data.sample import Event, Repair
from data.sources.parse import Span, as_dicts, clean_events, clock_s, single_line
from data.sources.sentences import (
    balanced,
    ended,
    new_sentences,
    said,
    sentences,
    telling,
    words_of,
)
from data.sources.speech import without_speech
from data.target import speech_context

Left = Counter[str]
"""Why sentences or events were dropped → how many."""
_NOTE = "analysis|breakdown|summary|overview|description|annotation|transcript(?:ion)?|synopsis|outline|account|recap"
_KIND = (
    "video|visual|audiovisual|content|scene|shot|structured|detailed|comprehensive|in-depth|thorough|brief|"
    "short|concise|complete|full|general|step-by-step|shot-by-shot|following|provided|youtube"
)
ANNOTATION = regex.compile(
    r"\b(?:scene|shot)[- ]by[- ](?:scene|shot)\b|\b(?:json|metadata|time-?stamps?|time-?coded|annotat(?:ed|ions?))\b"
    rf"|^(?:here is |this is |here’s |here's )?(?:an? |the |this )?(?:(?:{_KIND}),? (?:and )?)*(?:{_NOTE})\s+(?:of|for|that|"
    r"is|with|covers?|describ|detail|provid|focus|captur|highlight|includ|showcas|featur|about|goes)"
    rf"|\b(?:{_KIND}) (?:{_NOTE})\b|\b(?:video|clip) (?:provides|offers|gives) (?:an? |the )?(?:\w+ )?(?:{_NOTE})\b",
    regex.I,
)
"""Sentences about the description, not about the video."""
_NUMBERED = regex.compile(
    r"^(?:scene|part|chapter|segment|section|shot|clip|act)\s*(?:#|no\.?|number)?\s*"
    r"(?:\d+|[ivx]+|[a-z]|one|two|three|four|five|six|seven|eight|nine|ten)"
    r"(?:\s*(?:of|/)\s*\d+)?\s*(?:$|[:.,–—-]\s*)",
    regex.I,
)
_ONLY_PLACE = regex.compile(
    r"(?:the |main |final |opening |closing )?(?:scene|untitled|introduction|intro|outro|conclusion|opening|"
    r"ending|closing|end|beginning|start|main|middle|finale|climax|overview|summary|recap|transition|"
    r"continuation|background|context|setup|body|content|title)"
    r"(?: (?:scene|sequence|segment|part|section|content|remarks|title))?\W*",
    regex.I,
)
LEAST_WORDS = 4
"""Minimum words of an event: a model that learns from events of two words answers with two words."""
MOST = 20_000
"""Characters of a note that are used; the rest is cut off."""
PROP_LENGTH = 200
"""Maximum characters of a prop's name; a longer one is left out."""
MOOD_WORDS = 4
"""Maximum words of a mood; a longer one is a remark about the scene."""


def times_of(item: dict[str, Any]) -> tuple[float | None, float | None]:
    """Start and end in seconds, under any of the field names that the dataset uses."""
    value = item.get("timestamps", item.get("timestamp"))
    if not isinstance(value, dict):
        return clock_s(value), None
    return (
        clock_s(value.get("start_timestamp", value.get("start"))),
        clock_s(value.get("end_timestamp", value.get("end"))),
    )


def title_of(scene: dict[str, Any], *, speech: bool) -> str:
    """A scene's title; empty if it only says where the scene comes (`Scene 1`, `Introduction`)."""
    title = _NUMBERED.sub("", single_line(scene.get("title"))).strip()
    if _ONLY_PLACE.fullmatch(title):
        return ""
    return " ".join(seen([title], Counter(), speech=speech))


def seen(texts: list[str], left: Left, *, speech: bool) -> list[str]:
    """The sentences of notes that describe the pictures; the others are counted in `left`."""
    kept = []
    for text in filter(said, texts):
        for one in sentences(text[:MOST]):
            if not balanced(one):
                left["sentence not whole"] += 1
            elif ANNOTATION.search(one):
                left["about the annotation"] += 1
            elif speech or (one := without_speech(one)):
                kept.append(one)
            else:
                left["speech left out"] += 1
    return kept


def scene_notes(scene: dict[str, Any], left: Left, *, speech: bool) -> list[str]:
    """What happens in a scene: its activities by time, else its narrative."""
    activities = sorted(as_dicts(scene.get("activities")), key=lambda a: times_of(a)[0] or 0.0)
    for items in (activities, as_dicts(scene.get("narrativeProgression"))):
        texts = [single_line(item.get("description")) for item in items]
        if notes := seen(texts, left, speech=speech):
            return notes
    return []


def scene_events(
    scenes: list[dict[str, Any]], duration_s: float | None, *, speech: bool
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    """One event per scene: its title and notes. Props are added if these have fewer than `LEAST_WORDS`
    words."""
    left: Left = Counter()
    spans = []
    for scene in scenes:
        told = [title_of(scene, speech=speech), *scene_notes(scene, left, speech=speech)]
        text = " ".join(new_sentences(told, []))
        if len(words_of(text)) < LEAST_WORDS:
            text = " ".join(filter(None, [text, props_of(scene, text)]))
        spans.append(Span(*times_of(scene), text))
    return _events(spans, duration_s, left)


def activity_events(
    scenes: list[dict[str, Any]], duration_s: float | None, *, speech: bool
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    """One event per activity; a very short one is put after its scene's title."""
    left: Left = Counter()
    spans = []
    for scene in scenes:
        title = title_of(scene, speech=speech)
        for activity in as_dicts(scene.get("activities")):
            notes = seen([single_line(activity.get("description"))], left, speech=speech)
            text = " ".join(new_sentences(notes, []))
            if text and len(words_of(text)) < LEAST_WORDS:
                text = " ".join(new_sentences([title, text], []))
            if text or not said(single_line(activity.get("description"))):
                spans.append(Span(*times_of(activity), text))
    return _events(spans, duration_s, left)


def _events(
    spans: list[Span], duration_s: float | None, left: Left
) -> tuple[tuple[Event, ...], tuple[Repair, ...]]:
    long_enough = [s for s in spans if not s.text or len(words_of(s.text)) >= LEAST_WORDS]
    left["too few words"] += len(spans) - len(long_enough)
    events, repairs = clean_events(long_enough, duration_s)
    return events, (*repairs, *(Repair(what, n) for what, n in sorted(left.items()) if n))


def paragraph(description: str, scenes: list[dict[str, Any]], *, speech: bool) -> str:
    """The description, then each scene's title, activities, props and mood; nothing is repeated."""
    told = new_sentences(seen([description], Counter(), speech=speech), [])
    for scene in scenes:
        title, notes = (
            title_of(scene, speech=speech),
            scene_notes(scene, Counter(), speech=speech),
        )
        props = props_of(scene, " ".join([*told, title, *notes]))
        if notes or props or len(words_of(title)) >= LEAST_WORDS:
            told += new_sentences([title, *notes], told)
            told += [text for text in (props, mood_of(scene)) if text and text not in told[-8:]]
    return " ".join(told)


def props_of(scene: dict[str, Any], told: str) -> str:
    """`Seen: NASA logo, Queen Elizabeth.` Leaves out empty props and those that `told` mentions."""
    known = telling(told)
    props = [single_line(p.get("name")).rstrip(" .,;:") for p in as_dicts(scene.get("props"))]
    unseen = [
        p
        for p in dict.fromkeys(props)
        if len(p) <= PROP_LENGTH and said(p) and balanced(p) and not telling(p) <= known
    ]
    return ended(f"Seen: {', '.join(unseen)}") if unseen else ""


def mood_of(scene: dict[str, Any]) -> str:
    """`Mood: Excited.`: the words before the reasons. Empty if they are many, or the mood is neutral."""
    value = scene.get("mood")
    mood = single_line(value.get("description")) if isinstance(value, dict) else single_line(value)
    for separator in (r"[.;:()\[\]–—]| - |\bas\b|\bwith\b|\bbecause\b", r","):
        mood = regex.split(separator, mood)[0].strip(" ,!-\"'“”")
        few = 0 < len(words_of(mood)) <= MOOD_WORDS
        if few:
            break
    neutral = mood.lower().startswith(("neutral", "not ", "no "))
    return ended(f"Mood: {mood}") if few and said(mood) and not neutral else ""


def speech_lines(segments: Any) -> str:
    """Time-coded speech, one line per segment; a segment that is only a sound in brackets is left out."""
    said = []
    for segment in as_dicts(segments):
        start_s, end_s = clock_s(segment.get("start")), clock_s(segment.get("end"))
        text = single_line(segment.get("text"))
        if start_s is None or end_s is None or not regex.sub(r"[\[(].*?[\])]|\W", "", text):
            continue
        said.append((start_s, end_s, text))
    return speech_context(said)
