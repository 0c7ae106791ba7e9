"""Some pairs on one page: frames, the better answer beside the worse, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.pages.contact_sheet import sheet_values
from data.pages.in_turn import in_turn
from data.pages.render import write_page
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
        cards=_cards(in_turn(pairs, lambda pair: pair.maker, most), rows),
    )


def _cards(pairs: Sequence[Pair], rows: Dataset) -> Iterator[dict[str, Any]]:
    places = {name: i for i, name in enumerate(rows["id"])}
    for pair in pairs:
        row = rows[places[pair.id]]
        yield {
            "pair": pair,
            **sheet_values(row["frames"], row["times_s"], FRAME_PX),
            "parts": [
                (name, pair.chosen_parts[name], pair.rejected_parts.get(name))
                for name in pair.chosen_parts
            ],
        }
