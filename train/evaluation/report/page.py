"""The report: one self-contained page with the summary, curves and a card for every video."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.exceptions import DatasetsError
from markupsafe import Markup

from data.errors import UserError, warn
from data.pages.contact_sheet import contact_sheet, frames_of
from data.pages.render import data_url, render, script_values
from data.prepared.dataset import Prepared
from data.sample import Stated
from data.storage import write_atomically
from data.target import clock
from data.window import rows_of_samples
from train.evaluation.records import scored_events
from train.evaluation.report.curves import COLOURS, curves_svg
from train.evaluation.report.table import general_lines, rows_of, signed, sure
from train.evaluation.results import Evaluation, Summary, System
from train.metrics.shown import SHOWN
from train.metrics.soda import in_time

HERE = Path(__file__).parent
HUES = 8
"""Number of colours for matched events; the page's style sheet names them m0, m1, …"""
SORTABLE = {one.name: one.short for one in SHOWN if one.short}
"""Measures of single videos and their short names: shown on each card; cards can be sorted by them."""


@dataclass(frozen=True)
class Bar:
    """An event on a card: its position in percent of the video, its times and its text."""

    left: float
    width: float
    hue: int | None
    """Colour index, shared by matched events; None: the event is not matched."""
    times: str
    text: str


@dataclass(frozen=True)
class Lane:
    """The reference, or one system's prediction, for a video."""

    name: str
    bars: tuple[Bar, ...]
    text: str
    """The text, if there are no events."""
    flags: tuple[str, ...] = ()
    scores: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Strip:
    """Frames of one policy side by side in a single picture."""

    label: str
    picture: str
    width_px: int
    height_px: int
    times: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """One video."""

    id: str
    duration: str
    lanes: tuple[Lane, ...]
    strips: tuple[Strip, ...]
    values: str
    """Sort keys as a JSON list, in the order of the page's sort menu."""
    flags: str


def write_report(path: Path, done: Evaluation, summary: Summary) -> None:
    """Write the report of an evaluation as one HTML file."""
    orders = list(_orders(done))
    text = render(
        HERE / "report.html",
        title=", ".join(s.name for s in done.systems),
        done=done,
        rows=list(_rows(done, summary)),
        colours=COLOURS,
        curves=Markup(curves_svg(done, summary)),
        orders=[name for name, _ in orders],
        cards=_cards(done, [values for _, values in orders]),
        flags=sorted({flag for s in done.scored for marks in s.flags for flag in marks}),
        general=general_lines(done),
        problems=done.problems.record(),
        **script_values(HERE / "report.js"),
    )
    write_atomically(path, text)


def _rows(done: Evaluation, summary: Summary) -> Iterator[dict[str, Any]]:
    """Rows of the summary table: values and intervals on one scale per row, and paired differences."""
    for name, caption in rows_of(done, summary):
        known = [v[name] for v in summary.values if name in v and v[name].known]
        top = max([f.high for f in known] + [f.value for f in known] + [1e-9])
        bottom = min([f.low for f in known] + [0.0])
        span = top - bottom

        def place(value: float, bottom: float = bottom, span: float = span) -> float:
            return round(100 * (value - bottom) / span, 2)

        cells = []
        for values in summary.values:
            figure = values.get(name)
            cells.append(
                None
                if figure is None or not figure.known
                else {
                    "text": f"{figure.value:.3f}",
                    "range": f"{figure.low:.3f} – {figure.high:.3f}",
                    "at": place(figure.value),
                    "low": place(figure.low),
                    "high": place(figure.high),
                }
            )
        direction = next((m.better for s in done.scored for m in s.measures if m.name == name), "")
        differences = []
        for figures in summary.differences:
            figure = figures.get(name)
            if figure is None or not figure.known:
                differences.append(("", ""))
                continue
            good = (figure.value > 0) == (direction == "higher")
            verdict = "" if not sure(figure) or not direction else "better" if good else "worse"
            none = max(abs(figure.value), abs(figure.low), abs(figure.high)) < 0.0005
            differences.append(("" if none else signed(figure), verdict))
        yield {"caption": caption, "better": direction, "cells": cells, "differences": differences}


def _orders(done: Evaluation) -> Iterator[tuple[str, list[float]]]:
    """Entries of the sort menu: a label, and one value per video."""
    columns = [{m.name: m.each for m in scored.measures} for scored in done.scored]
    for name in SORTABLE:
        for system, each in zip(done.systems, columns, strict=True):
            if name in each:
                yield f"{SORTABLE[name]}: {system.name}", each[name].tolist()
        for system, each in zip(done.systems[1:], columns[1:], strict=True):
            if name in each and name in columns[0]:
                gain = (each[name] - columns[0][name]).tolist()
                yield f"{SORTABLE[name]}: {system.name} − {done.systems[0].name}", gain
    yield "length of the video", [t.duration_s for t in done.references.values()]


def _cards(done: Evaluation, orders: list[list[float]]) -> Iterator[Card]:
    """The cards one at a time, so that a thousand videos' pictures are not held in memory."""
    rows = [_Rows(s) for s in _distinct(done.systems)]
    width = 160 if len(done.references) <= 50 else 112 if len(done.references) <= 300 else 80
    columns = [{m.name: m.each for m in scored.measures} for scored in done.scored]
    for i, (name, reference) in enumerate(done.references.items()):
        hues = {r for scored in done.scored for r, _ in scored.matched[i]}
        true = in_time(scored_events(reference, done.compat), compat=done.compat)
        end_s = max([reference.duration_s, *(e.end_s for e in true)])
        lanes = [
            Lane(
                "reference",
                tuple(_bar(e, end_s, k % HUES if k in hues else None) for k, e in enumerate(true)),
                "" if true else reference.description,
            )
        ]
        for system, scored, each in zip(done.systems, done.scored, columns, strict=True):
            prediction = system.answers.get(name)
            events = scored_events(prediction, done.compat) if prediction else ()
            said = in_time(events, compat=done.compat)
            partner = {p: r for r, p in scored.matched[i]}
            lanes.append(
                Lane(
                    system.name,
                    tuple(
                        _bar(e, end_s, partner[k] % HUES if k in partner else None)
                        for k, e in enumerate(said)
                    ),
                    "" if said or prediction is None else prediction.text[:2000],
                    scored.flags[i],
                    tuple(
                        (SORTABLE[n], f"{each[n][i]:.2f}")
                        for n in SORTABLE
                        if n in each and not math.isnan(each[n][i])
                    ),
                )
            )
        strips = [strip for r in rows if (strip := r.strip(name, width)) is not None]
        values = [None if math.isnan(v[i]) else round(v[i], 5) for v in orders]
        marks = sorted({flag for scored in done.scored for flag in scored.flags[i]})
        yield Card(
            name,
            clock(round(reference.duration_s)),
            tuple(lanes),
            tuple(strips),
            json.dumps(values),
            json.dumps(marks),
        )


def _bar(event: Stated, end_s: float, hue: int | None) -> Bar:
    left = min(100.0, max(0.0, 100 * event.start_s / end_s))
    width = min(100.0 - left, max(0.0, 100 * (event.end_s - event.start_s) / end_s))
    times = f"{_time(event.start_s)} – {_time(event.end_s)}"
    return Bar(round(left, 2), round(width, 2), hue, times, event.text)


def _time(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}" + (f".{tenths % 10}" if tenths % 10 else "")


def _distinct(systems: Any) -> list[System]:
    """One system for each set of frames."""
    return list({s.prepared: s for s in reversed(systems) if s.prepared is not None}.values())[::-1]


class _Rows:
    """Frames of a prepared dataset by video."""

    def __init__(self, system: System):
        policy = system.about.get("frames", {}).get("policy", "")
        self._label = f"{policy} frames" if policy else "frames"
        try:
            self._rows = Prepared.open(str(system.prepared)).rows()
        except (UserError, OSError, DatasetsError) as error:  # since moved, deleted or damaged
            warn(f"{system.prepared}: cannot be read, so the page shows no frames of it ({error})")
            self._places: Mapping[str, list[int]] = {}
            return
        self._places = rows_of_samples(self._rows["sample_id"])

    def strip(self, name: str, width_px: int) -> Strip | None:
        if name not in self._places:
            return None
        frames, times_s = frames_of(self._rows.select(self._places[name]))
        whole = contact_sheet(frames, width_px)
        buffer = io.BytesIO()
        whole.save(buffer, "WEBP", quality=70 if width_px > 100 else 55)
        times = tuple(_time(t) for t in times_s)
        return Strip(
            self._label, data_url(buffer.getvalue(), "webp"), width_px, whole.height, times
        )
