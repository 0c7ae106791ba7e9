"""Videos without descriptions, to be described: files, folders, patterns, or a list of files.

    a.mp4               a file, whatever its name ends in
    videos/             the videos in a folder and the folders below it, by name; hidden files are not looked at
    "videos/*.mp4"      a pattern, if the shell has not filled it in
    list.txt            one path a line; empty lines and those that begin with # are left out
    list.jsonl          {"video": "a.mp4", "id"?, "prompt"?, "system"?, "context"?} a line; other fields are ignored

In a list, a relative path is looked up beside the list, else from the working directory.
"""

from __future__ import annotations

import glob
import hashlib
import os
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from data.errors import UserError, warn
from data.media import VideoFile
from data.sample import Sample
from data.sources.config import SourceKeys
from data.sources.find_video import ENDINGS
from data.sources.lines import json_lines
from data.sources.parse import prose, without_surrogates
from data.storage import listing_hash

LISTS = (".txt", ".jsonl")
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listed:
    """A video to be described."""

    path: str
    id: str
    """Its name in results, unlike all others: the path below the folder that was searched, or its own name."""
    prompt: str = ""
    system: str = ""
    context: str = ""


def read(keys: SourceKeys) -> Iterator[Sample]:
    """A sample for each video, in order, with nothing said of it."""
    for one in _chosen(keys):
        yield Sample(
            id=one.id,
            source="files",
            video=VideoFile(one.path),
            prompt=one.prompt,
            system=one.system,
            context=one.context,
            subtitles=keys.speech_context,
            untold=True,
        )


def count(keys: SourceKeys) -> int:
    """Number of videos.

    Raises:
        UserError: there is no such place, or no video in it.
    """
    return len(_chosen(keys))


def version(keys: SourceKeys) -> str:
    """A hash of the videos' names and of what is asked of them."""
    return listing_hash([astuple(one) for one in videos_of([str(keys.path)])])


def _chosen(keys: SourceKeys) -> list[Listed]:
    found = videos_of([str(keys.path)])
    if keys.shuffle_seed is not None:
        random.Random(keys.shuffle_seed).shuffle(found)
    return found[: keys.limit]


def videos_of(places: Sequence[str]) -> list[Listed]:
    """The videos that the places name, each once, in the order of the places.

    Raises:
        UserError: a folder or pattern has no video, or a list cannot be read.
    """
    found: dict[tuple[str, ...], Listed] = {}
    for place in places:
        for one in _of_place(place):  # another question about a video is another row
            asked = (str(Path(one.path).absolute()), one.prompt, one.system, one.context)
            found.setdefault(asked, one)
    return list(_with_own_ids(found.values()))


def _of_place(place: str) -> Iterable[Listed]:
    path = Path(place)
    if path.is_dir():
        return _below(path)
    if not path.exists() and MAGIC.search(place):
        # Path.glob takes no absolute pattern
        every = glob.glob(place, recursive=True)  # noqa: PTH207
        names = sorted(name for name in every if not Path(name).is_dir())
        if not names:
            raise UserError(f"{place}: no file has such a name")
        return [Listed(name, _id(Path(name).name)) for name in names]
    if path.suffix.lower() == ".jsonl":
        return _rows(path)
    if path.suffix.lower() == ".txt":
        return _lines(path)
    return [Listed(place, _id(path.name))]


def _below(folder: Path) -> list[Listed]:
    found = []
    for where, folders, files in os.walk(folder, onerror=_unread):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS:
                found.append(Path(where, name))
    if not found:
        raise UserError(f"{folder}: no video in it (looked for .mp4, .mkv, .webm, .mov, …)")
    return [Listed(str(p), _id(p.relative_to(folder).as_posix())) for p in sorted(found)]


def _unread(error: OSError) -> None:
    warn(f"note: {error.filename}: not searched ({error.strerror})")


def _lines(file: Path) -> list[Listed]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8 text; a list has one path a line") from None
    names = (line.strip() for line in lines)
    found = [_listed(file, name) for name in names if name and not name.startswith("#")]
    return _some(file, found)


def _rows(file: Path) -> list[Listed]:
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    found = []
    for number, row in json_lines(file, None):
        video = row.get("video") if isinstance(row, dict) else None
        if isinstance(row, Exception) or not isinstance(video, str) or not video:
            raise UserError(f'{file}: line {number}: write {{"video": "PATH"}}')
        try:
            os.fsencode(video)
        except UnicodeEncodeError:
            raise UserError(f"{file}: line {number}: no file can have that name") from None
        own = {key: row.get(key) or "" for key in ("id", "prompt", "system", "context")}
        if bad := [key for key, value in own.items() if not isinstance(value, str)]:
            raise UserError(f"{file}: line {number}: {bad[0]} must be text")
        name = without_surrogates(own.pop("id")).strip()
        one = _listed(file, video)  # a name is bytes, which need not be UTF-8
        texts = {key: prose(value) for key, value in own.items()}
        found.append(replace(one, **texts, **({"id": _id(name)} if name else {})))
    return _some(file, found)


def _some(file: Path, found: list[Listed]) -> list[Listed]:
    if not found:
        raise UserError(f"{file}: names no video")
    return found


def _listed(file: Path, name: str) -> Listed:
    """A video that a list names."""
    beside = file.parent / name
    path = beside if beside.exists() or not Path(name).exists() else Path(name)
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    return Listed(str(path), _id(name if inside else Path(name).name))


def _id(name: str) -> str:
    """A path as an id: of names that are Unicode and go down only."""
    parts = [part.strip() for part in without_surrogates(name).split("/")]
    parts = [part for part in parts if part not in ("", ".", "..")]
    return "/".join(parts) or "video"


def _with_own_ids(videos: Iterable[Listed]) -> Iterator[Listed]:
    """The videos; one whose id was used before gets a hash of its path added."""
    used: set[str] = set()
    for one in videos:
        if one.id in used:
            stem, dot, ending = one.id.rpartition(".")
            digest = hashlib.sha256(os.fsencode(Path(one.path).absolute())).hexdigest()[:8]
            one = replace(one, id=f"{stem}-{digest}.{ending}" if dot else f"{one.id}-{digest}")
        used.add(one.id)
        yield one
