"""Helpers of the notebook: run commands, draw a live loss curve, show pages and answers."""

from __future__ import annotations

import html
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from IPython.display import HTML, DisplayHandle, Image, display
from matplotlib.figure import Figure

from data.config import ROOT
from train.evaluation.report.curves import loss_figure
from train.run.files import METRICS, STATE

EVERY_S = 2.0


def run(script: str, *keys: str) -> None:
    """Run a command of this project and print its output live. A failure stops the notebook."""
    _print_output(_start([sys.executable, script, *keys]), repeat(None))


def train(*keys: str, output: str, resume: bool = False) -> None:
    """Run `accelerate launch train/sft.py` and draw the loss curve live. `resume`: continue a run that
    was cut off. A run that has not begun starts; a finished run stays as it is."""
    started = time.time()
    keys = (*keys, *resuming(ROOT / output, asked=resume))
    process = _start(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--num_processes",
            "1",
            "--gpu_ids",
            "0",
            "train/sft.py",
            *keys,
            f"train.output={output}",
        ]
    )
    _print_output(process, _redraw_curve(ROOT / output, started))


def resuming(folder: Path, *, asked: bool) -> list[str]:
    """The key that resumes a run, if it is asked for and there is a run to resume."""
    return ["train.resume=true"] if asked and (folder / STATE).is_file() else []


def _redraw_curve(folder: Path, started: float) -> Iterator[None]:
    """Each `next` redraws the loss curve of a run if new steps were logged."""
    curve: DisplayHandle | None = display(HTML("<i>the loss is drawn here</i>"), display_id=True)
    metrics, drawn = folder / METRICS, started
    while True:
        there = metrics.stat().st_mtime if metrics.is_file() else 0.0
        if curve is not None and there > drawn:
            drawn = there
            if (figure := loss_figure(folder)) is not None:
                curve.update(Image(_png(figure)))
        yield


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _start(argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _print_output(process: subprocess.Popen[bytes], meanwhile: Iterator[None]) -> None:
    """Print a process's output live; a progress bar overwrites its own line, as in a terminal.
    `meanwhile` is advanced about every EVERY_S seconds.

    Raises:
        SystemExit: the process failed; carries its last line.
    """
    assert process.stdout is not None
    next(meanwhile)
    last, looked = "", time.monotonic()
    for line in io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline=""):
        text = line.rstrip("\r\n")
        if text.strip():
            last = text
            print(text, end="\r" if line.endswith("\r") else "\n", flush=True)
        if time.monotonic() - looked > EVERY_S:
            looked = time.monotonic()
            next(meanwhile)
    if process.wait() != 0:
        raise SystemExit(last)
    next(meanwhile)


def page(path: str, height_px: int = 640) -> HTML:
    """An HTML page that a command wrote, embedded in the notebook."""
    text = html.escape((ROOT / path).read_text(encoding="utf-8"))
    return HTML(
        f'<iframe srcdoc="{text}" width="100%" height="{height_px}" style="border:0"></iframe>'
    )


def before_and_after(evaluation: str, videos: int = 3) -> HTML:
    """A table of a few held-out videos: the reference, and each system's answer (before, after)."""
    folder = ROOT / evaluation
    systems = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["systems"]
    truth = json.loads((folder / "references.json").read_text(encoding="utf-8"))
    said = [
        json.loads((folder / one["predictions"]).read_text(encoding="utf-8"))["scenescribe"][
            "texts"
        ]
        for one in systems.values()
    ]
    rows = []
    for video, true in list(truth.items())[:videos]:
        events = zip(true["timestamps"], true["sentences"], strict=True)
        lines = [f"{start:.0f} – {end:.0f} s: {text}" for (start, end), text in events]
        cells = ["\n".join(lines) or true["description"], *(texts.get(video, "") for texts in said)]
        shown = "".join(
            f"<td><pre style='white-space:pre-wrap'>{html.escape(c)}</pre></td>" for c in cells
        )
        rows.append(f"<tr style='vertical-align:top;text-align:left'>{shown}</tr>")
    names = ("what happens", *systems)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return HTML(f"<table><tr>{head}</tr>{''.join(rows)}</table>")
