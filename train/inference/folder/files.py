"""What the folder of descriptions holds, written as videos are done and completed at the end.

out/descriptions.jsonl      one record a video, in the order of the videos (`train/inference/describe.py`)
out/descriptions.parquet    the same as a table
out/index.html              a page of all videos
out/videos/NAME.srt .vtt .txt
out/frames/NAME.jpg         the frames that were chosen, for the page
out/work/                   prepared frames and answers: a later call continues with them
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.pages.contact_sheet import contact_sheet, thinned
from data.sources.files import Listed
from data.sources.find_video import ENDINGS
from data.sources.parse import without_surrogates
from data.storage import atomic, write_atomically
from train.inference.config import Format
from train.inference.cues import srt, vtt
from train.inference.describe import as_line

JSONL, PARQUET, PAGE, WORK = "descriptions.jsonl", "descriptions.parquet", "index.html", "work"
OURS = (JSONL, PARQUET, PAGE, "videos", "frames")
CLEARED = ".scenescribe-cleared"
"""What the folder of the work is called while it is removed."""
SHEET_PX = 128
"""Width of a frame on the page."""
LONGEST = 180
"""Bytes of a file's name; the rest is left for endings."""
GROUP_ROWS = 1000
MARKS = {
    "cut": "cut off at max_new_tokens",
    "looped": "generated again, for they repeated themselves",
    "context_cut": "without the end of what is said in them, which did not fit (data.context_tokens)",
    "frames_left_out": "without all chosen frames, which did not fit into the prompt",
    "times_moved": "with times outside the video, moved to its edge",
    "lines_unusable": "with lines that had no usable times",
}
TABLE = pa.schema(
    [
        ("id", pa.string()),
        ("video", pa.string()),
        ("text", pa.string()),
        (
            "events",
            pa.list_(
                pa.struct(
                    [("start_s", pa.float64()), ("end_s", pa.float64()), ("text", pa.string())]
                )
            ),
        ),
        ("duration_s", pa.float64()),
        ("windows", pa.int64()),
        ("cut", pa.bool_()),
        ("looped", pa.bool_()),
        ("times_moved", pa.int64()),
        ("lines_unusable", pa.int64()),
        ("frames_left_out", pa.int64()),
        ("context_cut", pa.bool_()),
        ("times_s", pa.list_(pa.float64())),
        ("error", pa.string()),
        ("reason", pa.string()),
    ]
)


def names_of(videos: Iterable[Listed]) -> dict[str, str]:
    """Video id → name of its files, without an ending; no two are the same where case does not count."""
    used: set[str] = set()
    names = {}
    for one in videos:
        path = Path(one.id)
        stem = str(path.with_suffix("")) if path.suffix.lower() in ENDINGS else one.id
        digest = hashlib.sha256(one.id.encode()).hexdigest()[:8]
        short = "/".join(_short(part, digest) for part in stem.split("/"))
        name = next(
            n
            for n in (short, f"{short}{path.suffix}", f"{short}-{digest}")
            if n.casefold() not in used
        )
        used.add(name.casefold())
        names[one.id] = name
    return names


def _short(part: str, digest: str) -> str:
    if len(part.encode()) <= LONGEST:
        return part
    return part.encode()[: LONGEST - 9].decode(errors="ignore") + f"-{digest}"


class Descriptions:
    """The descriptions in a folder."""

    def __init__(self, out: Path, videos: Sequence[Listed], formats: Sequence[Format]):
        self._out, self._formats = out, formats
        self._order = {one.id: number for number, one in enumerate(videos)}
        self.names = names_of(videos)
        self._places: dict[int, tuple[int, int]] = {}
        self.bad = 0
        self.sheets: dict[str, str] = {}
        """Video id → name of the picture with its frames."""
        self.marked: Counter[str] = Counter()
        """What is to be known of the descriptions → of how many."""
        self._lines = (out / JSONL).open("wb")

    def missing(self) -> list[str]:
        """Ids of the videos that have no record."""
        return [name for name, number in self._order.items() if number not in self._places]

    def add(
        self, record: Mapping[str, Any], windows: Iterable[Mapping[str, Any]] = (), part: int = 0
    ) -> None:
        """Write the record of a video, and its files.

        Args:
            windows: its rows with their frames, read if its picture is not there.
            part: where they come from; a file that has changed comes from another one.
        """
        line = as_line(record).encode() + b"\n"
        self._places[self._order[record["id"]]] = (self._lines.tell(), len(line))
        self._lines.write(line)
        self._lines.flush()
        if "error" in record:
            self.bad += 1
            return
        self.marked.update(what for key, what in MARKS.items() if record[key])
        name = self.names[record["id"]]
        texts = {
            "text": ("txt", record["text"] + "\n"),
            "srt": ("srt", srt(record)),
            "vtt": ("vtt", vtt(record)),
        }
        for kind, (ending, text) in texts.items():
            if kind in self._formats:
                file = self._out / "videos" / f"{name}.{ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, text)
        self.sheets[record["id"]] = f"{name}-{part}" if part else name
        sheet = self._out / "frames" / f"{self.sheets[record['id']]}.jpg"
        if "html" in self._formats and not sheet.is_file():
            sheet.parent.mkdir(parents=True, exist_ok=True)
            wanted = set(shown_times(record))
            frames = [
                frame
                for row in windows
                for frame, time_s in zip(row["frames"], row["times_s"], strict=True)
                if time_s in wanted
            ]
            with atomic(sheet) as unfinished:
                contact_sheet(frames, SHEET_PX).save(unfinished, "JPEG", quality=80)

    def finish(self) -> None:
        """Put the records in the order of the videos, and write the table."""
        self._lines.close()
        with (
            (self._out / JSONL).open("rb") as unordered,
            atomic(self._out / JSONL) as path,
            path.open("wb") as ordered,
        ):
            for number in sorted(self._places):
                start, length = self._places[number]
                unordered.seek(start)
                ordered.write(unordered.read(length))
            ordered.flush()
        if "parquet" in self._formats:
            with (
                atomic(self._out / PARQUET) as unfinished,
                pq.ParquetWriter(unfinished, TABLE) as table,
            ):
                some: list[dict[str, Any]] = []
                for record in records(self._out):
                    row = {name: record.get(name) for name in TABLE.names}
                    some.append({**row, "video": without_surrogates(record["video"])})
                    if len(some) == GROUP_ROWS:
                        table.write_table(pa.Table.from_pylist(some, TABLE))
                        some = []
                table.write_table(pa.Table.from_pylist(some, TABLE))


def records(out: Path) -> Iterator[dict[str, Any]]:
    """The records of a folder, one at a time."""
    with (out / JSONL).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def clear(out: Path) -> None:
    """Remove what an earlier call wrote; by the folder of its work it is known until all else is gone."""
    for name in OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    remove_cleared(out)
    (out / WORK).rename(out / CLEARED)


def remove_cleared(out: Path) -> None:
    """Remove the work that was cleared, also by a call that was killed before it was gone."""
    shutil.rmtree(out / CLEARED, ignore_errors=True)


def shown_times(record: Mapping[str, Any]) -> list[float]:
    """Times of the frames that the page shows of a video: those that the model saw, of a film some."""
    return list(thinned(record["times_s"]))
