"""The page of a training run, one file: curves, and the answers for the same videos at every evaluation."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from datasets import Dataset
from markupsafe import Markup
from matplotlib.figure import Figure

from data.pages.contact_sheet import contact_sheet, frames_of
from data.pages.render import data_url, render
from data.storage import write_atomically
from data.target import clock, timeline
from data.window import rows_of_samples
from train.evaluation.records import reference_of
from train.metrics.shown import SHOWN
from train.run.files import METRICS, SAMPLES, read_rows

PAGE = "run.html"
TEMPLATE = Path(__file__).parent / "run_page.html"
VIDEOS = 6
"""Maximum number of videos shown."""
THUMBNAIL_PX = 160
PANELS = (
    ("completion loss", ("loss", "eval_loss", "eval_also_loss")),
    ("scores of generated answers", tuple(f"eval_{one.log}" for one in SHOWN if one.curve)),
    ("learning rate", ("learning_rate", "lr_vision", "lr_connector", "lr_llm")),
    ("gradient norm", ("grad_norm",)),
    ("videos a second", ("videos_per_s",)),
    ("tokens a second", ("tokens_per_s",)),
    ("memory, GiB", ("memory_gib",)),
)


@dataclass(frozen=True)
class VideoHistory:
    """One held-out video: its frames, the reference, and the answer at each step."""

    id: str
    frames: str
    """Data URL of one picture with the frames side by side."""
    times: tuple[str, ...]
    truth: str
    said: tuple[tuple[int, str], ...]


def write_page(folder: Path, rows: Dataset | None) -> None:
    """Write `run.html` in the run folder, from the files there; `rows`: the held-out videos with frames."""
    text = render(
        TEMPLATE, title=folder.name, curves=Markup(_curves(folder)), videos=_videos(folder, rows)
    )
    write_atomically(folder / PAGE, text)


def _curves(folder: Path) -> str:
    """The panels as SVG, without text from a dataset."""
    logged = read_rows(folder / METRICS)
    panels = [
        (title, [(n, [(r["step"], r[n]) for r in logged if r.get(n) is not None]) for n in names])
        for title, names in PANELS
    ]
    panels = [(title, [(n, p) for n, p in curves if p]) for title, curves in panels]
    panels = [(title, curves) for title, curves in panels if curves]
    if not panels:
        return ""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "run", "font.size": 8}):
        across = 3
        down = -(-len(panels) // across)
        # fixed margins and few ticks: matplotlib's own layout takes longer than all else here
        high = 2.3 * down  # inches
        figure = Figure(figsize=(10, high))
        figure.subplots_adjust(
            left=0.05, right=0.99, bottom=0.3 / high, top=1 - 0.3 / high, wspace=0.2, hspace=0.35
        )
        for place, (title, curves) in enumerate(panels, 1):
            ax = figure.add_subplot(down, across, place)
            ax.locator_params(nbins=5)
            for name, points in curves:
                ax.plot(
                    *zip(*points, strict=True),
                    "o-" if len(points) < 20 else "-",
                    ms=3,
                    lw=1.2,
                    label=name,
                )
            ax.set_title(title, fontsize=9, loc="left")
            ax.set_ylim(bottom=0)
            ax.spines[["top", "right"]].set_visible(False)
            if len(curves) > 1:
                ax.legend(frameon=False, fontsize=7)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _videos(folder: Path, rows: Dataset | None) -> list[VideoHistory]:
    said: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in read_rows(folder / SAMPLES):
        said[one["id"]].append((one["step"], one["text"]))
    if rows is None or not said:
        return []
    places = rows_of_samples(rows["sample_id"])
    shown = []
    for name in [n for n in said if n in places][:VIDEOS]:
        frames, times_s = frames_of(rows.select(places[name]))
        buffer = io.BytesIO()
        contact_sheet(frames, THUMBNAIL_PX).save(buffer, "JPEG", quality=80)
        reference = reference_of([rows[i] for i in places[name]])
        shown.append(
            VideoHistory(
                name,
                data_url(buffer.getvalue()),
                tuple(clock(t) for t in times_s),
                timeline(reference.events) or reference.description,
                tuple(sorted(said[name])),
            )
        )
    return shown
