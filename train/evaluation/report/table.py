"""Scores with bootstrap intervals: a printed table, JSON, and a CSV row per video and system."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data.storage import write_atomically
from train.evaluation.intervals import bootstrap, interval, mean
from train.evaluation.results import Evaluation, Figure, Summary
from train.metrics.degeneration import wordiness
from train.metrics.shown import CAPTIONS


def summarise(done: Evaluation, seed: int) -> Summary:
    """Figures with intervals. All systems share the same resamples, so differences are paired."""
    values, draws = [], []
    for scored in done.scored:
        drawn = bootstrap(list(scored.measures), seed)  # (B, M)
        names = [m.name for m in scored.measures]
        draws.append(dict(zip(names, drawn.T, strict=True)))
        values.append(
            {m.name: Figure(m.value, *interval(draws[-1][m.name])) for m in scored.measures}
        )
    differences = []
    for scored, drawn_by_name in zip(done.scored[1:], draws[1:], strict=True):
        first = done.scored[0]
        shared = [m for m in scored.measures if m.name in draws[0]]
        differences.append(
            {
                m.name: Figure(
                    m.value - first[m.name].value,
                    *interval(drawn_by_name[m.name] - draws[0][m.name]),
                )
                for m in shared
            }
        )
    return Summary(tuple(values), tuple(differences))


def rows_of(done: Evaluation, summary: Summary) -> list[tuple[str, str]]:
    """(name, caption) of the displayed measures that any system has."""
    return [
        (name, caption)
        for name, caption in CAPTIONS.items()
        if any(name in v and v[name].known for v in summary.values)
    ]


def shown(done: Evaluation, summary: Summary) -> str:
    """The printed table: systems side by side, significant differences from the first, flagged answers."""
    names = [s.name for s in done.systems]
    head = (
        f"{len(done.references)} videos; 95 % intervals over videos; SODA's text score: {done.text}"
        + (", as the published program" if done.compat else "")
        + f"; tokens: {done.tokenizer}"
    )
    lines = [head, ""]
    width = max(24, *(len(n) + 2 for n in names))
    lines.append(" " * 37 + "".join(f"{n:>{width}}" for n in names))
    for name, caption in rows_of(done, summary):
        cells = [_cell(v.get(name)) for v in summary.values]
        lines.append(f"{caption:<37}" + "".join(f"{c:>{width}}" for c in cells))
    for other, differences in zip(names[1:], summary.differences, strict=True):
        known = [
            (caption, differences[name])
            for name, caption in rows_of(done, summary)
            if name in differences and differences[name].known
        ]
        certain = [(caption, f) for caption, f in known if sure(f)]
        lines += ["", f"{other} − {names[0]}, where the interval excludes zero:"]
        lines += [f"{caption:<37}{signed(figure):>{width}}" for caption, figure in certain]
        if not certain:
            lines.append("no significant difference")
    lines += ["", *general_lines(done)]
    for system, scored in zip(done.systems, done.scored, strict=True):
        flagged = sorted({flag for marks in scored.flags for flag in marks})
        for flag in flagged:
            ids = [n for n, m in zip(scored.ids, scored.flags, strict=True) if flag in m]
            some = ", ".join(ids[:3])
            lines.append(
                f"{system.name}: {len(ids)} answers {flag} ({some}{', …' if len(ids) > 3 else ''})"
            )
    return "\n".join(lines)


def general_lines(done: Evaluation) -> list[str]:
    """What each system forgot: its loss on plain instructions without video, and its base's."""
    lines = []
    for system in done.systems:
        if system.general is None:
            continue
        own = np.asarray(system.general.own)
        line = f"{system.name}: {len(own)} plain instructions without video, answer loss {own.mean():.3f}"
        if len(system.general.base):
            more = mean("more", own - np.asarray(system.general.base), "lower")
            figure = Figure(more.value, *interval(bootstrap([more])[:, 0]))
            line += f", its base's {np.mean(system.general.base):.3f}: {signed(figure)}"
        lines.append(line)
    return lines


def _cell(figure: Figure | None) -> str:
    if figure is None or not figure.known:
        return "–"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def sure(figure: Figure) -> bool:
    """Whether the interval of a difference excludes zero at the printed precision."""
    return figure.low > 0.0005 or figure.high < -0.0005


def signed(figure: Figure) -> str:
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def _plain(figures: dict[str, Figure]) -> dict[str, Any]:
    return {
        name: {k: None if math.isnan(v) else v for k, v in asdict(figure).items()}
        for name, figure in figures.items()
    }


def write_scores(path: Path, done: Evaluation, summary: Summary, files: Sequence[str]) -> None:
    """Write all scores as JSON. This file is written last: if it exists, the other files do too."""
    systems = {}
    for system, scored, values, file in zip(
        done.systems, done.scored, summary.values, files, strict=True
    ):
        examples = {
            flag: [n for n, m in zip(scored.ids, scored.flags, strict=True) if flag in m][:3]
            for flag in sorted({f for marks in scored.flags for f in marks})
        }
        systems[system.name] = {
            "predictions": file,
            "about": system.about,
            "prepared": system.prepared,
            "coverage": scored.coverage,
            "scores": _plain(values),
            "flagged": examples,
            "wordiness": asdict(
                wordiness(
                    [prediction.words_only for prediction in system.answers.values()],
                    [done.references[n].text(done.timed) for n in system.answers],
                )
            ),
            "losses": {name: asdict(one) for name, one in system.losses.items()},
            "general": None if system.general is None else asdict(system.general),
            "taken": {name: asdict(taken) for name, taken in system.taken.items()},
        }
    content = {
        "videos": len(done.references),
        "timed": done.timed,
        "text_score": done.text,
        "tokenizer": done.tokenizer,
        "compat": done.compat,
        "problems": done.problems.record(),
        "judge": done.judge,
        "systems": systems,
        "differences_from_the_first": {
            system.name: _plain(figures)
            for system, figures in zip(done.systems[1:], summary.differences, strict=True)
        },
    }
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def flat(done: Evaluation, summary: Summary) -> dict[str, float]:
    """Scores under the keys `system/measure`, `system/measure/low` and `system/measure/high`."""
    figures: dict[str, float] = {"videos": len(done.references)}
    for system, values in zip(done.systems, summary.values, strict=True):
        for name, figure in values.items():
            if figure.known:
                figures[f"{system.name}/{name}"] = figure.value
                figures[f"{system.name}/{name}/low"] = figure.low
                figures[f"{system.name}/{name}/high"] = figure.high
    return figures


def write_csv(path: Path, done: Evaluation) -> None:
    """Write a row per video and system: frame policy, times taken, scores, flags and the text."""
    names = [n for n in CAPTIONS if any(m.name == n for s in done.scored for m in s.measures)]
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    rows.writerow(
        [
            "video",
            "system",
            "policy",
            "threshold",
            "frames",
            "choose_s",
            "describe_s",
            *names,
            "flags",
            "description",
        ]
    )
    every = list(zip(done.systems, done.scored, strict=True))
    columns = [{m.name: m.each for m in scored.measures} for _, scored in every]
    for i, video in enumerate(done.references):
        for (system, scored), each in zip(every, columns, strict=True):
            taken, prediction = system.taken.get(video), system.answers.get(video)
            frames = system.about.get("frames", {})
            rows.writerow(
                [
                    _cellsafe(video),
                    system.name,
                    frames.get("policy", ""),
                    frames.get("threshold") or "",
                    taken.frames if taken else "",
                    round(taken.choose_s, 3) if taken and taken.choose_s is not None else "",
                    taken.describe_s if taken else "",
                    *(f"{each[n][i]:.4f}" if n in each else "" for n in names),
                    "; ".join(scored.flags[i]),
                    _cellsafe(prediction.text if prediction else ""),
                ]
            )
    write_atomically(path, buffer.getvalue())


def _cellsafe(text: str) -> str:
    """The text with a leading quote if it begins like a formula, which a spreadsheet would run."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text[:1] else text
