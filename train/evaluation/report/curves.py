"""The report's curves: F1 over tIoU, and the loss of the runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from train.evaluation.results import Evaluation, Summary
from train.metrics.grounding import THRESHOLDS
from train.run.files import METRICS, read_rows

COLOURS = ("#64748b", "#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d")
"""Colours of the systems, in order."""


def curves_svg(done: Evaluation, summary: Summary) -> str:
    """F1 over tIoU, and the loss of runs whose folder still exists, as SVG without text from a dataset."""
    losses = [_losses(s.about.get("model")) for s in done.systems]
    panels = [any("f1_tiou>0.5" in v for v in summary.values), any(losses)]
    if not any(panels):
        return ""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        axes = list(figure.subplots(1, sum(panels), squeeze=False)[0])
        if panels[0]:
            _overlap_curves(axes[0], done, summary)
        if panels[1]:
            _loss_curves(axes[-1], losses)
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def loss_figure(run: Path) -> Figure | None:
    """A plot of a run's loss; None if no loss was logged."""
    curves = _losses(str(run))
    if not curves:
        return None
    figure = Figure(figsize=(7, 3), dpi=120, layout="constrained")
    axes = figure.subplots()
    _loss_curves(axes, [curves])
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _overlap_curves(axes: Any, done: Evaluation, summary: Summary) -> None:
    for k, values in enumerate(summary.values):
        if "f1_tiou>0.5" not in values:
            continue
        figures = [values[f"f1_tiou>{t:g}"] for t in THRESHOLDS]
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(THRESHOLDS, [f.value for f in figures], "o-", color=colour, ms=4)
        low, high = [f.low for f in figures], [f.high for f in figures]
        axes.fill_between(THRESHOLDS, low, high, color=colour, alpha=0.15, lw=0)
    axes.set(xlabel="tIoU above", ylabel="F1", xticks=THRESHOLDS)
    axes.set_ylim(bottom=0)


def _losses(model: str | None) -> dict[str, list[tuple[int, float]]]:
    """Loss curves logged in a run folder, as (step, loss)."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(Path(model) / METRICS) if model else []:
        for name in ("loss", "eval_loss"):
            if name in row:
                curves.setdefault(name, []).append((row["step"], row[name]))
    return curves


def _loss_curves(axes: Any, losses: list[dict[str, list[tuple[int, float]]]]) -> None:
    for k, curves in enumerate(losses):
        for name, points in curves.items():
            style = "o-" if name == "eval_loss" else "-"
            colour = COLOURS[k % len(COLOURS)]
            alpha = 1.0 if name == "eval_loss" else 0.4
            axes.plot(*zip(*points, strict=True), style, color=colour, alpha=alpha, ms=4, lw=1.2)
    axes.set(xlabel="step", ylabel="completion loss (dots: held out)")
