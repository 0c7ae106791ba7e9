"""What was dropped, on one page: its frames, above those of the video that is kept instead."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.curation.decide import Dropped
from data.curation.strips import SeenRow
from data.pages.contact_sheet import contact_sheet, thinned
from data.pages.render import data_url, write_page
from data.target import clock

TEMPLATE = Path(__file__).parent / "dropped.html"
FRAME_PX = 120


def write_page_of(
    path: Path,
    dropped: Sequence[Dropped],
    record: Mapping[str, Any],
    frames: Callable[[SeenRow], Sequence[bytes]],
    most: int,
) -> None:
    """Write the page, with at most so many, as many as possible of each reason."""
    by_reason: dict[str, list[Dropped]] = {}
    for one in dropped:
        by_reason.setdefault(one.reason, []).append(one)
    turns = [(n, k) for k, own in enumerate(by_reason.values()) for n in range(len(own))]
    lists = list(by_reason.values())
    shown = [lists[k][n] for n, k in sorted(turns)][:most]
    write_page(
        path,
        TEMPLATE,
        title=f"dropped from {record['from']}",
        record=record,
        total=len(dropped),
        shown=len(shown),
        cards=_cards(shown, frames),
    )


def _cards(
    shown: Sequence[Dropped], frames: Callable[[SeenRow], Sequence[bytes]]
) -> Iterator[dict[str, Any]]:
    for one in shown:
        rows = [("dropped", one.row), *([("kept", one.twin)] if one.twin else [])]
        yield {
            "id": one.row.id,
            "reason": one.reason,
            "detail": one.detail,
            "sheets": [_sheet(f"{what}: {row.id}", row, frames(row)) for what, row in rows],
        }


def _sheet(caption: str, row: SeenRow, jpegs: Sequence[bytes]) -> dict[str, Any]:
    stored = [{"bytes": jpeg} for jpeg in jpegs]
    sheet = contact_sheet(thinned(stored), FRAME_PX)
    picture = io.BytesIO()
    sheet.save(picture, "JPEG", quality=80)
    return {
        "caption": caption,
        "picture": data_url(picture.getvalue()),
        "width_px": sheet.width,
        "times": " · ".join(clock(time_s) for time_s in thinned(row.times_s.tolist())),
    }
