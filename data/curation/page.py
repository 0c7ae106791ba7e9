"""What was dropped, on one page: its frames, above those of the video that is kept instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.curation.decide import Dropped
from data.curation.strips import SeenRow, frames_of_row
from data.pages.contact_sheet import sheet_values
from data.pages.in_turn import in_turn
from data.pages.render import write_page

TEMPLATE = Path(__file__).parent / "dropped.html"
FRAME_PX = 120


def write_page_of(
    path: Path,
    dropped: Sequence[Dropped],
    record: Mapping[str, Any],
    most: int,
) -> None:
    """Write the page, with at most so many, as many as possible of each reason."""
    shown = in_turn(dropped, lambda one: one.reason, most)
    write_page(
        path,
        TEMPLATE,
        title=f"dropped from {record['from']}",
        record=record,
        total=len(dropped),
        shown=len(shown),
        cards=_cards(shown),
    )


def _cards(shown: Sequence[Dropped]) -> Iterator[dict[str, Any]]:
    for one in shown:
        rows = [("dropped", one.row), *([("kept", one.twin)] if one.twin else [])]
        yield {
            "id": one.row.id,
            "reason": one.reason,
            "detail": one.detail,
            "sheets": [_sheet(f"{what}: {row.id}", row) for what, row in rows],
        }


def _sheet(caption: str, row: SeenRow) -> dict[str, Any]:
    frames = [{"bytes": jpeg} for jpeg in frames_of_row(row)]
    return {"caption": caption, **sheet_values(frames, row.times_s.tolist(), FRAME_PX)}
