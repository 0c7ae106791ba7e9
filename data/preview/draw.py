"""A preview as a page that works offline, or as one picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.pages.render import HERE, data_url, render
from data.preview.collect import PolicyChoice, Preview
from data.storage import atomic

COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
MOST_POINTS = 1500  # of the change signal: more than a screen has pixels
CAPTIONS = {
    "frames": ("frames", "{:.0f}"),
    "events shown": ("events shown", "{:.0%}"),
    "distance": ("mean distance of every frame to the nearest chosen one, grey levels", "{:.1f}"),
    "redundancy": ("redundancy: mean cosine to the most alike chosen frame", "{:.2f}"),
    "in transition": ("chosen frames inside a transition", "{:.0%}"),
    "seconds": ("seconds to choose", "{:.2f}"),
}


def html(preview: Preview, title: str) -> str:
    """One self-contained page: no script, nothing loaded, every text escaped."""
    names = [n for n in CAPTIONS if any(n in c.figures for c in preview.chosen)]
    return render(
        HERE / "preview.html",
        title=title,
        preview=preview,
        timeline=_svg(preview),
        colours=COLOURS,
        captions=[(CAPTIONS[n][0], [_figure(c, n) for c in preview.chosen]) for n in names],
        frames=[_cards(c) for c in preview.chosen],
        events=[
            (
                e,
                [
                    any(e.start_s <= t < e.end_s for t in c.selection.times_s)
                    for c in preview.chosen
                ],
            )
            for e in preview.events
        ],
        clock=time_label,
    )


def png(preview: Preview, title: str, path: Path) -> None:
    """The timeline and the chosen frames as one picture."""
    per_row = 8
    rows = [-(-len(c.stored) // per_row) for c in preview.chosen]
    height = 2.2 + 0.25 * len(rows) + sum(1.15 * r + 0.35 for r in rows)
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(11, height), layout="constrained")
        grid = figure.add_gridspec(
            1 + sum(rows), per_row, height_ratios=[2.0 + 0.25 * len(rows), *[1.15] * sum(rows)]
        )
        axes = figure.add_subplot(grid[0, :])
        axes.set_title(title, loc="left", parse_math=False)
        _timeline(axes, preview)
        at = 1
        for k, (chosen, count) in enumerate(zip(preview.chosen, rows, strict=True)):
            for i, picture in enumerate(chosen.stored.images()):
                cell = figure.add_subplot(grid[at + i // per_row, i % per_row])
                cell.imshow(picture)
                cell.set_xticks([])
                cell.set_yticks([])
                for spine in cell.spines.values():
                    spine.set_color(COLOURS[k % len(COLOURS)])
                head = f"{chosen.name}  " if i == 0 else ""
                label = f"{head}{time_label(chosen.stored.times_s[i])}"
                cell.set_title(label, loc="left", fontsize=7, pad=2)
            at += count
        with atomic(path) as unfinished:
            figure.savefig(unfinished, format="png", dpi=110)


def time_label(time_s: float) -> str:
    """62.5 → `1:02.5`."""
    tenths = round(time_s * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _figure(chosen: PolicyChoice, name: str) -> str:
    return CAPTIONS[name][1].format(chosen.figures[name]) if name in chosen.figures else ""


def _cards(chosen: PolicyChoice) -> list[tuple[str, str, str]]:
    shown = zip(chosen.stored.jpegs, chosen.stored.times_s, chosen.stored.reasons, strict=True)
    return [(data_url(jpeg), time_label(time_s), reason) for jpeg, time_s, reason in shown]


def _svg(preview: Preview) -> Any:
    """The timeline as SVG text. No text of a dataset is written into it."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "preview", "font.size": 9}):
        figure = Figure(figsize=(9, 2.2 + 0.28 * len(preview.chosen)), layout="constrained")
        _timeline(figure.add_subplot(), preview)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _timeline(axes: Axes, preview: Preview) -> None:
    """Change signal above; shots, labelled events and each policy's frames as rows below."""
    signals, end_s = preview.signals, preview.signals.duration_s
    step = max(1, len(signals.times_s) // MOST_POINTS)
    count = len(signals.change) // step
    peaks = signals.change[: count * step].reshape(count, step).max(axis=1)  # keep every spike
    heights = np.sqrt(peaks / max(1.0, float(peaks.max(initial=1.0))))
    axes.fill_between(signals.times_s[: count * step : step], heights, color="#94a3b8", lw=0)
    rows: list[tuple[str, list[tuple[float, float]], str]] = []
    edges = [0.0, *(t for x in preview.transitions for t in (x.start_s, x.end_s)), end_s]
    shots = [(a, max(b - a, 0.0)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    rows.append(("shots", shots, "#475569"))
    if preview.events:
        spans = [(e.start_s, e.end_s - e.start_s) for e in preview.events]
        rows.append(("events", spans, "#0f766e"))
    labels, places = ["change"], [0.5]
    for k, (name, spans, colour) in enumerate(rows):
        low = -0.25 * (k + 1)
        colours = [
            colour if i % 2 else matplotlib.colors.to_rgba(colour, 0.55) for i in range(len(spans))
        ]
        axes.broken_barh(spans, (low, 0.18), facecolors=colours)
        labels.append(name)
        places.append(low + 0.09)
    for k, chosen in enumerate(preview.chosen):
        low = -0.25 * (len(rows) + k + 1) - 0.05
        colour = COLOURS[k % len(COLOURS)]
        axes.vlines(chosen.selection.times_s, low, low + 0.2, colors=colour, lw=2)
        labels.append(chosen.name)
        places.append(low + 0.1)
    axes.set_xlim(0, end_s)
    axes.set_ylim(-0.25 * (len(rows) + len(preview.chosen)) - 0.12, 1.02)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
