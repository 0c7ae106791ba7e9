"""Overview of a prepared dataset as text or page: counts, lengths, quarantined rows, the first rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data.hub import opened
from data.pages.render import HERE, data_url, render
from data.prepared.dataset import Prepared
from data.prepared.shards import FEATURES, GROUP_ROWS, WINDOW, read_columns
from data.prepared.summary import counted
from data.sample import events_of
from data.storage import open_folder
from data.target import Style, clock, target
from data.window import as_seen

BINS = 12
MOST_LOST = 200
"""Maximum number of quarantined rows on a page."""
COLUMNS = ["id", "duration_s", "times_s", *WINDOW, "events", "description"]


@dataclass(frozen=True)
class Histogram:
    """The number of values between each two neighbouring edges."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    whole: bool
    """Whether all values are whole numbers."""

    def bars(self) -> Iterator[tuple[str, int, float]]:
        """(caption, count, height as a share of the largest bar) of each bin."""
        most = max(self.counts, default=0) or 1
        for low, high, count in zip(self.edges, self.edges[1:], self.counts, strict=False):
            caption = (
                f"{low:,.0f}" if self.whole and high - low == 1 else f"{low:,.0f} – {high:,.0f}"
            )
            yield caption, count, count / most


@dataclass(frozen=True)
class ShownRow:
    """One row as the overview shows it."""

    id: str
    duration_s: float
    answer: str
    credit: str
    frames: tuple[tuple[bytes, float, str], ...]
    """(JPEG, time in seconds, reason) of each."""


@dataclass(frozen=True)
class Overview:
    """The facts about a prepared dataset that text and page show."""

    path: str
    manifest: dict[str, Any]
    histograms: tuple[Histogram, ...]
    first: tuple[ShownRow, ...]
    lost: tuple[dict[str, str], ...]


def histogram(name: str, values: Sequence[float]) -> Histogram:
    """Histogram of finite values, in equal bins from the smallest to the largest, with whole edges."""
    if not len(values):
        return Histogram(name, (), (), 0.0, True)
    low, high = float(np.min(values)), float(np.max(values))
    step = max(1.0, np.ceil((high - low + 1e-9) / BINS))
    edges = np.floor(low) + step * np.arange(int((high - np.floor(low)) // step) + 2)
    counts, _ = np.histogram(values, edges)
    whole = all(float(v).is_integer() for v in values)
    return Histogram(name, tuple(edges), tuple(map(int, counts)), float(np.median(values)), whole)


def overview(
    path: str, style: Style, num_rows: int, tokens: Sequence[int] | None = None
) -> Overview:
    """Read the small columns of all rows, and all columns of the first `num_rows`. `tokens`: lengths of
    whole samples, if a tokenizer was given.

    Raises:
        UserError: no finished prepared dataset there.
    """
    dataset = Prepared.open(path)
    durations: list[float] = []
    frames: list[int] = []
    words: list[int] = []
    first: list[ShownRow] = []
    for url in dataset.shards:
        file = pq.ParquetFile(opened(url), pre_buffer=False)
        for group in range(file.num_row_groups):
            for stored in read_columns(file, COLUMNS, [group]).to_pylist():
                row = as_seen(stored, "own")
                durations.append(row["duration_s"])
                frames.append(len(row["times_s"]))
                answer, _ = target(events_of(row), row["description"], style)
                words.append(len(answer.split()))
        if len(first) < num_rows and file.metadata.num_rows:
            count = -(-(num_rows - len(first)) // GROUP_ROWS)
            groups = range(min(count, file.num_row_groups))
            table = read_columns(file, list(FEATURES), groups)
            first += [_shown(row, style) for row in table.to_pylist()[: num_rows - len(first)]]
    histograms = [histogram("seconds of video", durations), histogram("frames", frames)]
    if tokens is not None:
        histograms.append(histogram("tokens of a sample, frames and all", tokens))
    histograms.append(histogram(f"words of the answer ({style})", words))
    return Overview(
        path, dataset.manifest, tuple(histograms), tuple(first), tuple(_quarantined(dataset.url))
    )


def _shown(row: dict[str, Any], style: Style) -> ShownRow:
    row = as_seen(row, "own")
    answer, _ = target(events_of(row), row["description"], style)
    jpegs = [frame["bytes"] for frame in row["frames"]]
    cards = tuple(zip(jpegs, row["times_s"], row["reasons"], strict=True))
    return ShownRow(row["id"], row["duration_s"], answer, row["credit"], cards)


def _quarantined(path: str) -> Iterator[dict[str, str]]:
    folder = open_folder(path)
    if not folder.has("quarantine.jsonl"):  # a published dataset holds only their number
        return
    with folder.open("quarantine.jsonl") as lines:
        for i, line in enumerate(lines):
            if i == MOST_LOST:
                return
            yield json.loads(line)


def headline(found: Overview) -> str:
    """One line: how much there is."""
    manifest = found.manifest
    rows = manifest["rows"]
    return (
        f"{counted(manifest)}, {manifest['video_s'] / 3600:.2f} hours, {manifest['frames']:,} frames "
        f"({manifest['frames'] / max(1, rows):.1f} a video), policy {manifest['policy']['policy']}"
    )


def tables(found: Overview) -> list[tuple[str, list[tuple[str, int]]]]:
    """Counts by name: sources, rows quarantined and filtered out, repairs."""
    names = {
        "videos by source": "by_source",
        "quarantined": "quarantined",
        "filtered out": "left_out",
        "repaired or dropped": "repairs",
        "rows with their own prompt, system or context": "own_words",
    }
    shown = [(title, list(found.manifest[key].items())) for title, key in names.items()]
    return [(title, counts) for title, counts in shown if counts]


def text(found: Overview) -> str:
    """The overview as text for a terminal."""
    lines = [f"{found.path}: {headline(found)}"]
    for title, counts in tables(found):
        lines += ["", title, *(f"{count:>9,}  {name}" for name, count in counts)]
    for one in found.histograms:
        lines += ["", f"{one.name} (median {one.median:,.0f})"]
        lines += [f"{c:>17} {n:>8,} {'█' * round(30 * share)}" for c, n, share in one.bars()]
    for row in found.first:
        times = ", ".join(f"{time_s:.1f}" for _, time_s, _ in row.frames)
        lines += ["", f"{row.id} ({row.duration_s:.1f} s; frames at {times} s)"]
        lines += [f"    {line}" for line in row.answer.splitlines()]
    return "\n".join(lines)


def page(found: Overview) -> str:
    """The overview as one self-contained page: no script, nothing loaded, every text escaped."""
    return render(
        HERE / "overview.html",
        title=found.path,
        found=found,
        headline=headline(found),
        tables=tables(found),
        clock=clock,
        image=data_url,
        hidden=max(0, sum(found.manifest["quarantined"].values()) - len(found.lost)),
    )
