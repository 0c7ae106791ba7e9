"""Where the pictures of a sample are: in files, in bytes in Parquet, in a zip, on the Hub.

A source only records the location; `data.offline.unpack` reads the bytes when the video is processed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video file. `path` is absolute or relative to the working directory."""

    path: str
    shown: str = ""
    """Its name in messages, if `path` is only a copy made for decoding."""

    @property
    def name(self) -> str:
        return self.shown or self.path


@dataclass(frozen=True, slots=True)
class FrameFiles:
    """Picture files that are already frames of a video, with their times in it."""

    paths: tuple[str, ...]
    times_s: tuple[float, ...]
    """Strictly increasing."""
    duration_s: float | None = None
    """None: the last frame lasts as long as frames usually are apart."""

    @property
    def name(self) -> str:
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class ParquetCell:
    """The bytes of a video in one cell of a Parquet file, local or behind a URL."""

    url: str
    row: int
    column: str

    @property
    def name(self) -> str:
        return f"{self.url}#{self.row}"


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in a zip."""

    archive: str
    member: str

    @property
    def name(self) -> str:
        return f"{self.archive}#{self.member}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a dataset repository on the Hub, kept in the Hub's own cache."""

    repo: str
    path: str
    revision: str | None = None

    @property
    def name(self) -> str:
        return f"hf://datasets/{self.repo}/{self.path}"


Media = VideoFile | FrameFiles | ParquetCell | ZipMember | HubFile
Local = VideoFile | FrameFiles

Lost = Literal["missing file", "unreadable", "too large"]
"""The quarantine reasons (`data.sample.Reason`) that `Missing` can have."""


class Missing(Exception):
    """The media of one sample cannot be read. The sample is quarantined; the run goes on."""

    def __init__(self, detail: str, reason: Lost = "missing file"):
        super().__init__(detail)
        self.reason: Lost = reason


def content_id(media: Local) -> str:
    """An id made from a video's bytes, so that a copy under another name has the same id.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for path in (media.path,) if isinstance(media, VideoFile) else media.paths:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:32]}"
