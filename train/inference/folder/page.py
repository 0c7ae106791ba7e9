"""One page of all described videos: each with its frames and a timeline, and to be searched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data.pages.render import script_values
from data.pages.render import write_page as write
from data.target import clock, span
from train.inference.folder.files import shown_times

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """A video on the page."""

    id: str
    video: str
    """Address of the file, as seen from the page."""
    length: str
    error: str
    text: str
    events: tuple[dict[str, Any], ...]
    """With `left` and `width`, percent of the video."""
    sheet: str
    """Address of the picture with its frames."""
    times: str
    """Seconds of these frames, separated by spaces."""
    files: tuple[tuple[str, str], ...]
    """Endings and addresses of its other files."""
    marks: tuple[str, ...]


def write_page(
    path: Path,
    records: Iterable[dict[str, Any]],
    names: Mapping[str, str],
    sheets: Mapping[str, str],
) -> None:
    """Write the page beside the folders with the videos' files; one record is in memory at a time."""
    write(
        path,
        HERE / "page.html",
        title="described videos",
        count=len(names),
        cards=_cards(records, names, sheets, path.parent),
        **script_values(HERE / "page.js"),
    )


def _cards(
    records: Iterable[dict[str, Any]],
    names: Mapping[str, str],
    sheets: Mapping[str, str],
    out: Path,
) -> Iterator[Card]:
    for record in records:
        name = names[record["id"]]
        video = _address(os.path.relpath(record["video"], out))
        if "error" in record:
            why = f"{record['error']} ({record['reason']})"
            yield Card(record["id"], video, "", why, "", (), "", "", (), ())
            continue
        length_s = max(record["duration_s"], 1e-3)
        events = tuple(
            {
                **event,
                "clock": " – ".join(span(event["start_s"], event["end_s"])),
                "left": round(100 * event["start_s"] / length_s, 2),
                "width": round(100 * (event["end_s"] - event["start_s"]) / length_s, 2),
            }
            for event in record["events"]
        )
        files = [(e, out / "videos" / f"{name}.{e}") for e in ("srt", "vtt", "txt")]
        marks = {"cut off": record["cut"], "repeated itself": record["looped"]}
        yield Card(
            record["id"],
            video,
            clock(record["duration_s"]),
            "",
            record["text"],
            events,
            _address(f"frames/{sheets[record['id']]}.jpg"),
            " ".join(f"{time_s:.3f}" for time_s in shown_times(record)),
            tuple((e, _address(f"videos/{name}.{e}")) for e, file in files if file.is_file()),
            tuple(name for name, on in marks.items() if on),
        )


def _address(path: str) -> str:
    """A path as a relative URL; a name is bytes, which need not be UTF-8."""
    return quote(os.fsencode(path))
