"""Finding the video that a row names: in a folder tree, or in a zip."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data.errors import UserError
from data.media import Media, VideoFile, ZipMember

ENDINGS = frozenset(
    [
        ".mp4",
        ".mkv",
        ".webm",
        ".mov",
        ".avi",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".ts",
        ".flv",
        ".wmv",
        ".3gp",
        ".ogv",
        ".gif",
    ]
)


@dataclass(frozen=True)
class VideoFolder:
    """The videos below a folder or in a zip, wherever they lie in it, to be found by name."""

    place: str
    by_name: dict[str, str] = field(repr=False)
    """Stem → path below the folder, or member of the zip; empty if several files have that stem."""
    zipped: bool

    def find(self, name: str, prefixes: tuple[str, ...] = ("",)) -> Media | None:
        """The first video whose stem is one of `prefixes` followed by `name`; None if there is none."""
        for prefix in prefixes:
            found = self.by_name.get(prefix + name)
            if found:
                if self.zipped:
                    return ZipMember(self.place, found)
                return VideoFile(str(Path(self.place) / found))
        return None


def stem(name: str) -> str:
    """A file's name without folders and without a video file's extension (`v1.0` has none)."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def video_files(place: str) -> VideoFolder:
    """The videos below a folder or in a zip.

    Raises:
        UserError: no such folder or zip, or it contains no video.
    """
    path = Path(place)
    if path.is_dir():
        names = [
            os.path.relpath(Path(folder) / name, path)
            for folder, _, files in os.walk(path)
            for name in files
        ]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    else:
        raise UserError(f"source.videos={place}: no such folder or zip")
    found: dict[str, str] = {}
    for name in names:
        if PurePosixPath(name).suffix.lower() in ENDINGS:
            known = stem(name)
            found[known] = "" if known in found else name
    if not found:
        raise UserError(
            f"source.videos={place}: contains no video file (looked for .mp4, .mkv, .webm, …)"
        )
    return VideoFolder(place, found, not path.is_dir())
