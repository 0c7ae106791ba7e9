"""FineVideo (HuggingFaceFV/finevideo): 43,751 videos with time-coded scenes, activities and speech.

Rows are read as Parquet from the Hub, a folder or a URL, or in the layout of the dataset card's own
recipe (`videos/sample_0.mp4` beside `metadata/sample_0.json`). Filters use a row's `json` column
alone; the bytes of a video are read only when it is processed.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.media import Media, ParquetCell, VideoFile
from data.sample import FilteredOut, Rejected, Sample, Turn
from data.sources import finevideo_events
from data.sources.config import SourceKeys
from data.sources.known_sources import FINEVIDEO
from data.sources.parquet import (
    hub_repo,
    is_local_file,
    num_rows,
    table_rows,
    tables,
    tables_version,
)
from data.sources.parse import as_dicts, at_most, number, single_line, wanted_ids
from data.storage import listing_hash

PATTERN = "data/train-*.parquet"
LICENCE = "CC BY"
SPLITS = ("train", "validation", "test")
Row = tuple[str, Any, Media]
"""(name of the file and the row in it, its `json`, its video)"""


def read(keys: SourceKeys) -> Iterator[Sample | Rejected | FilteredOut]:
    """Rows in the dataset's order: samples, rows that filters leave out, and rows that are rejected."""
    ids = wanted_ids(keys.ids)
    rows = (sample_of(row, keys, video, where, ids) for where, row, video in _rows(keys))
    yield from at_most(rows, keys.limit)


def count(keys: SourceKeys) -> int | None:
    """Number of rows that `read` will yield, or None if it is not known without reading them."""
    if keys.limit is not None:
        return keys.limit
    filters = (
        keys.ids,
        keys.category,
        keys.parent_category,
        keys.language,
        keys.min_duration_s,
        keys.max_duration_s,
        keys.min_av_correlation,
    )
    if keys.split != "all" or any(wanted is not None for wanted in filters):
        return None
    dump = _dump(keys)
    if dump is not None:
        return len(dump)
    urls = tables(keys, FINEVIDEO, PATTERN)
    return num_rows(urls) if all(map(is_local_file, urls)) else None


def version(keys: SourceKeys) -> str:
    """A text that identifies the state of the dataset: runs with equal versions read the same rows."""
    dump = _dump(keys)
    if dump is not None:
        return listing_hash([(p.name, p.stat().st_size) for p in dump])
    return tables_version(keys, FINEVIDEO, PATTERN)


def _dump(keys: SourceKeys) -> list[Path] | None:
    """The metadata files of the card's layout, sorted by number; None for any other layout."""
    if hub_repo(keys, FINEVIDEO) is not None or keys.path is None:
        return None
    folder = Path(keys.path) / "metadata"
    if not folder.is_dir():
        return None
    files = sorted(folder.glob("*.json"), key=lambda p: (_number_in(p.stem), p.stem))
    if not files:
        raise UserError(f"source.path={keys.path}: metadata/ holds no .json")
    if keys.shuffle_seed is not None:
        random.Random(keys.shuffle_seed).shuffle(files)
    return files


def _number_in(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found[0]) if found else 0


def _rows(keys: SourceKeys) -> Iterator[Row]:
    dump = _dump(keys)
    if dump is not None:
        for file in dump:
            try:
                row = json.loads(file.read_bytes())
            except (ValueError, RecursionError) as error:
                row = f"not JSON: {error}"
            yield file.name, row, VideoFile(str(file.parents[1] / "videos" / f"{file.stem}.mp4"))
        return
    for url in tables(keys, FINEVIDEO, PATTERN):
        for i, row in table_rows(url, ["json"], later=["mp4"]):
            yield f"{url.rsplit('/', 1)[-1]}#{i}", row["json"], ParquetCell(url, i, "mp4")


def sample_of(
    row: Any,
    keys: SourceKeys,
    video: Media,
    where: str,
    ids: frozenset[str] | None = None,
) -> Sample | Rejected | FilteredOut:
    """One row → a sample. Never raises, whatever the row holds."""
    problem = ""
    if isinstance(row, str | bytes):  # some copies hold the struct as text
        try:
            row = json.loads(row)
        except (ValueError, RecursionError):
            problem = single_line(row)[:200] if isinstance(row, str) else "not JSON"
    if not isinstance(row, dict):
        detail = problem or f"json must be a struct, got {type(row).__name__}"
        return Rejected(where, video.name, "bad row", f"{where}: {detail}")
    name = video_id(row) or where
    why = unwanted(row, name, keys, ids)
    if why is not None:
        return FilteredOut(why)
    content = row.get("content_metadata")
    content = content if isinstance(content, dict) else {}
    scenes, speech = as_dicts(content.get("scenes")), keys.speech == "keep"
    seconds = number(row.get("duration_seconds"))
    # whole seconds with unknown rounding; the decoded length decides later
    duration_s = seconds + 1 if seconds is not None and seconds > 0 else None
    by_scene = keys.level == "scene"
    build = finevideo_events.scene_events if by_scene else finevideo_events.activity_events
    events, repairs = build(scenes, duration_s, speech=speech)
    description = finevideo_events.paragraph(
        single_line(content.get("description")), scenes, speech=speech
    )
    if not events and not description:
        return Rejected(name, video.name, "no target left", f"{where}: no scene and no description")
    return Sample(
        id=name,
        source="finevideo",
        video_id=video_id(row),
        video=video,
        events=events,
        description=description,
        context=finevideo_events.speech_lines(row.get("timecoded_text_to_speech"))
        if keys.speech_context
        else "",
        turns=tuple(_questions(content)) if keys.qa else (),
        credit=_credit(row, name),
        metadata=json.dumps(_metadata(row, name), ensure_ascii=False),
        repairs=repairs,
    )


def video_id(row: dict[str, Any]) -> str:
    """The name of the original file without its extension, since there is no id column."""
    for key in ("original_video_filename", "original_json_filename"):
        name = single_line(row.get(key)).rsplit("/", 1)[-1]
        if name.rsplit(".", 1)[0]:
            return name.rsplit(".", 1)[0][:200]
    return ""


def unwanted(
    row: dict[str, Any], name: str, keys: SourceKeys, ids: frozenset[str] | None
) -> str | None:
    """Why a filter leaves the row out, or None if all keep it. The cheapest filters come first."""
    if ids is not None and name not in ids:
        return "not in source.ids"
    if keys.split != "all" and split_of(name, keys.shares) != keys.split:
        return "in another split"
    for wanted, field in (
        (keys.category, "content_fine_category"),
        (keys.parent_category, "content_parent_category"),
    ):
        if wanted is not None and single_line(row.get(field)) not in wanted:
            return "of another category"
    seconds = number(row.get("duration_seconds"))
    if keys.min_duration_s is not None and (seconds is None or seconds < keys.min_duration_s):
        return "too short"
    if keys.max_duration_s is not None and (seconds is None or seconds > keys.max_duration_s):
        return "too long"
    if keys.min_av_correlation is not None:
        content = row.get("content_metadata")
        scenes = as_dicts(content.get("scenes")) if isinstance(content, dict) else []
        values = [number(scene.get("audioVisualCorrelation")) for scene in scenes]
        known = [v for v in values if v is not None]
        if not known or sum(known) / len(known) < keys.min_av_correlation:
            return "sound and picture do not match"
    if keys.language is not None and language_of(row) not in keys.language:
        return "in another language"
    return None


def split_of(name: str, shares: tuple[float, float, float]) -> str:
    """The split of a video, by hash of its id: always the same, whatever else is read."""
    digest = hashlib.sha256(f"finevideo {name}".encode("utf-8", "replace")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < shares[0]:
        return SPLITS[0]
    return SPLITS[1] if place < shares[0] + shares[1] else SPLITS[2]


@lru_cache(maxsize=1)
def _detector() -> Any:
    try:
        from lingua import LanguageDetectorBuilder
    except ImportError:
        raise UserError(
            "source.language: needs a language detector; pip install -e '.[language]'"
        ) from None
    return LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()


def language_of(row: dict[str, Any]) -> str:
    """ISO 639-1 code of the speech, detected because no column holds it; `none` without speech."""
    text = single_line(row.get("text_to_speech"))[:2000]
    if len(re.sub(r"\[.*?\]|\W", "", text)) < 20:
        return "none"
    found = _detector().detect_language_of(text)
    return "none" if found is None else str(found.iso_code_639_1.name).lower()


def _questions(content: dict[str, Any]) -> Iterator[Turn]:
    for item in as_dicts(content.get("qAndA")):
        question, answer = single_line(item.get("question")), single_line(item.get("answer"))
        if question and answer:
            yield Turn(question, answer)


def _credit(row: dict[str, Any], name: str) -> str:
    title, channel = single_line(row.get("youtube_title")), single_line(row.get("youtube_channel"))
    link = f"https://www.youtube.com/watch?v={name}" if re.fullmatch(r"[\w-]{11}", name) else name
    return f"“{title or 'untitled'}” by {channel or 'unknown'}, {link}, {LICENCE}"


def _metadata(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "video_id": name,
        "title": single_line(row.get("youtube_title")),
        "channel": single_line(row.get("youtube_channel")),
        "licence": LICENCE,
        "category": single_line(row.get("content_fine_category")),
        "parent_category": single_line(row.get("content_parent_category")),
    }
