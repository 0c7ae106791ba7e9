"""References, predictions, and the files that hold them.

References: the form of ActivityNet Captions, `{id: {"duration", "timestamps", "sentences"}}`, or of
YouCook2.
Predictions: the interchange form of dense captioning, `{"version", "results": {id: [{"sentence",
"timestamp"}]}, "external_data"}`. Files written here add the whole texts, under "scenescribe".
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.sample import Event, Stated
from data.sources import activitynet
from data.sources.parse import Span, as_dicts, clean_events, prose, single_line, time_s
from data.storage import write_atomically
from data.target import parse_timeline
from data.window import whole_events


@dataclass(frozen=True)
class Reference:
    """The reference of a video: its events, its duration, and a description of the whole."""

    events: tuple[Event, ...]
    duration_s: float
    description: str = ""
    stated: tuple[Stated, ...] = ()
    """The events as the file states them: in file order, neither clipped nor repaired."""

    @property
    def as_stated(self) -> tuple[Stated, ...]:
        return self.stated or self.events

    def text(self, timed: bool) -> str:
        """The reference as one text: the events' sentences if `timed`, else the description. If one is
        missing, it is the other."""
        sentences = " ".join(e.text for e in self.events)
        return (sentences or self.description) if timed else (self.description or sentences)


@dataclass(frozen=True)
class Prediction:
    """A predicted text, and the events parsed from it, in the order of the text."""

    text: str
    events: tuple[Event, ...] = ()
    unusable: int = 0
    """Lines or entries that had no usable times."""
    cut: bool = False
    """Generation stopped at the limit of new tokens."""
    stated: tuple[Stated, ...] = ()
    """The entries as the file states them, including those of zero length."""

    @property
    def as_stated(self) -> tuple[Stated, ...]:
        return self.stated or self.events

    @property
    def words_only(self) -> str:
        """The text without times: the events' sentences, or the whole text if it has no events."""
        return " ".join(e.text for e in self.events) or self.text


def scored_events(of: Reference | Prediction, compat: bool) -> tuple[Stated, ...]:
    """The events that SODA matches: with `compat` as the file states them, else the usable ones."""
    return of.as_stated if compat else of.events


@dataclass
class Problems:
    """Problems found in the input, by kind: reported as a count and the first few places."""

    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, what: str, where: str) -> None:
        self.found[what].append(where)

    def record(self) -> dict[str, Any]:
        return {
            what: {"count": len(where), "first": [w[:80] for w in where[:3]]}
            for what, where in sorted(self.found.items())
        }

    def lines(self) -> list[str]:
        return [
            f"note: {len(where)} × {what} ({', '.join(w[:80] for w in where[:3])}{', …' if len(where) > 3 else ''})"
            for what, where in sorted(self.found.items())
        ]


def file_name(name: str) -> str:
    """A system's name made safe for use in a file name."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "system"


def parse_prediction(text: str, *, cut: bool = False) -> Prediction:
    """The prediction that a generated text contains."""
    events, unusable = parse_timeline(text)
    return Prediction(text, tuple(events), unusable, cut)


def reference_of(rows: Sequence[Mapping[str, Any]]) -> Reference:
    """The reference of a sample, from its prepared row or the rows of its windows."""
    events = whole_events([dict(row) for row in rows])
    return Reference(tuple(events), rows[0]["duration_s"], rows[0]["description"])


# --- files -----------------------------------------------------------------------------------


def read_json_file(path: str, key: str, problems: Problems) -> Any:
    """The parsed JSON of a file. Bytes that are not UTF-8 are replaced and noted.

    Raises:
        UserError: the file does not exist or is not JSON.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{key}={path}: {'is a folder' if file.is_dir() else 'no such file'}")
    raw = file.read_bytes()
    encoding = json.detect_encoding(raw)
    text = raw.decode(encoding, "replace")
    if "\ufffd" in text and "\ufffd".encode(encoding) not in raw:
        problems.note("bytes that are no UTF-8, replaced", path)
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}={path}: not JSON: {error}") from None


def read_references(path: str, problems: Problems, *, mend: bool = True) -> dict[str, Reference]:
    """References by video id. Videos without a usable event or a description are left out and noted.

    Args:
        mend: False: events will be scored as the file states them; any event with times keeps a video,
            and repairs are not noted.

    Raises:
        UserError: the file does not hold references.
    """
    content = read_json_file(path, "references", problems)
    rows = activitynet.entries(content) if isinstance(content, dict) else None
    if rows is None or "results" in rows:
        raise UserError(
            f'references={path}: expected {{id: {{"duration", "timestamps", "sentences"}}}}, ActivityNet\'s form'
        )
    references = {}
    for name, row in rows.items():
        if not isinstance(row, dict):
            problems.note("references that are no object", name)
            continue
        spans = list(activitynet.spans(row))
        length = time_s(row.get("duration"))
        events, repairs = clean_events(spans, length)
        for repair in repairs if mend else ():
            problems.note(f"reference events: {repair.what}", name)
        stated = tuple(stated_of(spans))
        description = single_line(row.get("description"))
        end = length or max((e.end_s for e in stated), default=0.0)
        if not end or not (events or description or (stated and not mend)):
            problems.note("references without a usable event, left out", name)
            continue
        references[name] = Reference(events, end, description, stated)
    if not references:
        raise UserError(f"references={path}: no video with a usable event in it")
    return references


def stated_of(spans: Iterable[Span]) -> Iterator[Stated]:
    """The spans that have both a start and an end."""
    for span in spans:
        if span.start_s is not None and span.end_s is not None:
            yield Stated(span.start_s, span.end_s, span.text)


def read_predictions(path: str, known: Iterable[str], problems: Problems) -> dict[str, Prediction]:
    """Predictions by video id, for the ids in `known`. Other ids and unusable entries are noted.

    Raises:
        UserError: the file does not hold predictions.
    """
    content = read_json_file(path, "predictions", problems)
    if isinstance(content, list):
        content = _from_vlmevalkit(content, problems)
    content = content if isinstance(content, dict) else {"results": None}
    results = content.get("results", content)
    if not isinstance(results, dict):
        raise UserError(
            f'predictions={path}: expected {{"results": {{id: [{{"sentence", "timestamp"}}]}}}}'
        )
    ours = as_dicts(content.get("scenescribe")) or [{}]
    texts = (as_dicts(ours[0].get("texts")) or [{}])[0]
    cut = ours[0].get("cut")
    cut = {str(name) for name in cut} if isinstance(cut, list) else set()
    wanted = set(known)
    found = {}
    for name, entries in results.items():
        if name not in wanted:
            problems.note("predictions for unknown ids", name)
            continue
        found[name] = _prediction_of(name, entries, texts.get(name), name in cut, problems)
    for name in sorted(wanted - found.keys()):
        problems.note("videos without a prediction, scored as saying nothing", name)
    return found


def _from_vlmevalkit(content: list[Any], problems: Problems) -> dict[str, Any]:
    """VLMEvalKit's answers, `[{"index", "prediction"}]`, in the interchange form: one event a line."""
    texts = {}
    for row in as_dicts(content):
        if isinstance(row.get("index"), str | int) and isinstance(row.get("prediction"), str):
            texts[str(row["index"])] = row["prediction"]
        else:
            problems.note("rows without index and prediction", str(row)[:60])
    results = {
        name: [
            {"sentence": e.text, "timestamp": [e.start_s, e.end_s]} for e in parse_timeline(text)[0]
        ]
        for name, text in texts.items()
    }
    return {"results": results, "scenescribe": {"texts": texts}}


def _prediction_of(name: str, entries: Any, text: Any, cut: bool, problems: Problems) -> Prediction:
    if not isinstance(entries, list):
        problems.note("predictions that are no list", name)
    events: list[Event] = []
    stated: list[Stated] = []
    lines, unusable = [], 0
    listed = entries if isinstance(entries, list) else []
    for entry in listed:
        if not isinstance(entry, dict):
            problems.note("entries that are no object", name)
            unusable += 1
            continue
        sentence = single_line(entry.get("sentence"))
        lines.append(sentence)
        start_s, end_s = activitynet.pair(entry.get("timestamp"))
        stated.extend(stated_of([Span(start_s, end_s, sentence)]))
        if not sentence:
            problems.note("entries without a sentence", name)
        if start_s is None or end_s is None:
            problems.note("entries whose times are no finite numbers", name)
        elif start_s < 0 or end_s <= start_s:
            problems.note("entries that end before they start, or start below zero", name)
        else:
            events.append(Event(start_s, end_s, sentence))
            continue
        unusable += 1
    whole = prose(text) if isinstance(text, str) else "\n".join(lines)
    return Prediction(whole, tuple(events), unusable, cut, tuple(stated))


def write_predictions(path: Path, answers: Mapping[str, Prediction], about: dict[str, Any]) -> None:
    """Write the interchange form; `about` records what made the predictions."""
    results = {
        name: [{"sentence": e.text, "timestamp": [e.start_s, e.end_s]} for e in answer.as_stated]
        for name, answer in answers.items()
    }
    content = {
        "version": "VERSION 1.0",
        "results": results,
        "external_data": {"used": False, "details": ""},
        "scenescribe": {
            **about,
            "texts": {name: answer.text for name, answer in answers.items()},
            "cut": [name for name, answer in answers.items() if answer.cut],
        },
    }
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_references(path: Path, references: Mapping[str, Reference]) -> None:
    """Write ActivityNet's form, with the description added."""
    content = {
        name: {
            "duration": truth.duration_s,
            "timestamps": [[e.start_s, e.end_s] for e in truth.as_stated],
            "sentences": [e.text for e in truth.as_stated],
            "description": truth.description,
        }
        for name, truth in references.items()
    }
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
