"""Some pairs on one page: frames, the better answer beside the worse, and why."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.pages.contact_sheet import contact_sheet, thinned
from data.pages.render import data_url, write_page
from data.target import clock
from train.preference.pairs import Pair

TEMPLATE = Path(__file__).parent / "pairs.html"
FRAME_PX = 120


def write_page_of(
    path: Path, pairs: Sequence[Pair], rows: Dataset, record: Mapping[str, Any], most: int
) -> None:
    """Write the page.

    Args:
        rows: the rows that the pairs answer, with frames.
        most: pairs on the page, as many as possible of each maker.
    """
    write_page(
        path,
        TEMPLATE,
        title=f"pairs of {record['dataset']['path']}",
        record=record,
        count=len(pairs),
        cards=_cards(_some(pairs, most), rows),
    )


def _some(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """At most so many, of each maker in turn."""
    by_maker: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_maker.setdefault(pair.maker, []).append(pair)
    turns = [(n, k, pair) for k, own in enumerate(by_maker.values()) for n, pair in enumerate(own)]
    return [pair for _, _, pair in sorted(turns, key=lambda turn: turn[:2])][:most]


def _cards(pairs: Sequence[Pair], rows: Dataset) -> Iterator[dict[str, Any]]:
    places = {name: i for i, name in enumerate(rows["id"])}
    for pair in pairs:
        row = rows[places[pair.id]]
        frames, times_s = thinned(row["frames"]), thinned(row["times_s"])
        sheet = contact_sheet(frames, FRAME_PX)
        picture = io.BytesIO()
        sheet.save(picture, "JPEG", quality=80)
        yield {
            "pair": pair,
            "picture": data_url(picture.getvalue()),
            "width_px": sheet.width,
            "times": " · ".join(clock(t) for t in times_s),
            "parts": [
                (name, pair.chosen_parts[name], pair.rejected_parts.get(name))
                for name in pair.chosen_parts
            ],
        }
