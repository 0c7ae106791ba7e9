"""The most doubtful rows on one page, to be marked: frames, text, figures, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.pages.contact_sheet import sheet_values
from data.pages.render import script_values, write_page
from data.sample import events_of
from data.target import target
from train.audit.rank import Doubt
from train.inference.worth import Worth
from train.sections import DataKeys

HERE = Path(__file__).parent
FRAME_PX = 120


def write_page_of(
    path: Path, found: Sequence[Doubt], rows: Dataset, keys: DataKeys, record: Mapping[str, Any]
) -> None:
    """Write the page. `rows`: those of which `found` tells, with frames."""
    write_page(
        path,
        HERE / "audit.html",
        title=f"doubtful rows of {record['dataset']['path']}",
        record=record,
        cards=_cards(found, rows, keys),
        **script_values(HERE / "audit.js"),
    )


def _cards(found: Sequence[Doubt], rows: Dataset, keys: DataKeys) -> Iterator[dict[str, Any]]:
    places = {name: i for i, name in enumerate(rows["id"])}
    for one in found:
        row = rows[places[one.worth.id]]
        yield {
            "id": one.worth.id,
            "deviations": one.deviations,
            "reason": one.reason,
            "fit": one.worth.fit,
            "losses": [(name, loss) for name, loss in _losses(one.worth) if loss is not None],
            "text": target(events_of(row), row["description"], keys.target, keys.clock)[0],
            **sheet_values(row["frames"], row["times_s"], FRAME_PX),
        }


def _losses(one: Worth) -> list[tuple[str, float | None]]:
    """Of an answer, by what it was asked with."""
    return [
        ("its frames", one.own),
        ("blank ones", one.blank),
        ("another video's", one.other),
        ("its frames, of times alone", one.times),
        (f"its times {one.moved_s:+g} s", one.moved),
    ]
