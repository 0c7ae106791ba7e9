"""The most doubtful rows on one page, to be marked: frames, text, figures, why."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from markupsafe import Markup

from data.pages.contact_sheet import contact_sheet, thinned
from data.pages.render import data_url, write_page
from data.sample import events_of
from data.target import clock, target
from train.audit.rank import Doubt
from train.sections import DataKeys

HERE = Path(__file__).parent
FRAME_PX = 120


def write_page_of(
    path: Path, found: Sequence[Doubt], rows: Dataset, keys: DataKeys, record: Mapping[str, Any]
) -> None:
    """Write the page. `rows`: those of which `found` tells, with frames."""
    script = (HERE / "audit.js").read_text(encoding="utf-8")
    write_page(
        path,
        HERE / "audit.html",
        title=f"doubtful rows of {record['dataset']['path']}",
        record=record,
        cards=_cards(found, rows, keys),
        script=Markup(script),  # our own file, without text from a dataset
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _cards(found: Sequence[Doubt], rows: Dataset, keys: DataKeys) -> Iterator[dict[str, Any]]:
    places = {name: i for i, name in enumerate(rows["id"])}
    for one in found:
        row = rows[places[one.worth.id]]
        sheet = contact_sheet(thinned(row["frames"]), FRAME_PX)
        picture = io.BytesIO()
        sheet.save(picture, "JPEG", quality=80)
        yield {
            "id": one.worth.id,
            "deviations": one.deviations,
            "reason": one.reason,
            "worth": one.worth,
            "text": target(events_of(row), row["description"], keys.target, keys.clock)[0],
            "picture": data_url(picture.getvalue()),
            "width_px": sheet.width,
            "times": " · ".join(clock(time_s) for time_s in thinned(row["times_s"])),
        }
