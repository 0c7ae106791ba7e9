"""Where files end up: a folder, or whatever fsspec reaches (s3://, gs://, hf://, memory://).

Everything is written under a temporary name first, on this machine, and then put in place whole: a
reader sees the old file, the new one or none, never half of one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from data.errors import UserError, one_line
from data.locks import locked

BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}
"""Stores that have no folders, only names with slashes in them."""


@dataclass(frozen=True)
class Folder:
    """A folder on one of fsspec's file systems."""

    url: str
    """As the user wrote it."""
    fs: fsspec.AbstractFileSystem
    root: str
    """As the file system itself calls it."""

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def location(self, name: str) -> str:
        """What other libraries open: a plain path, or a URL."""
        path = f"{self.root}/{name}"
        return path if self.is_local else str(self.fs.unstrip_protocol(path))

    def names(self) -> set[str]:
        """Files and folders directly in it; empty where there is no such folder."""
        with self._reached():
            try:
                return {Path(p).name for p in self.fs.ls(self.root, detail=False) if p != self.root}
            except (FileNotFoundError, NotADirectoryError):
                return set()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """As it is now: libraries remember what they listed, and others write here too. A store that
        refuses or is away, each in its library's own way, is one line."""
        self.fs.invalidate_cache()
        try:
            yield
        except (UserError, FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:
            if self.is_local:
                raise
            raise UserError(f"{self.url}: {type(error).__name__}: {one_line(error)}") from None

    def has(self, name: str) -> bool:
        with self._reached():
            return bool(self.fs.isfile(f"{self.root}/{name}"))

    def open(self, name: str) -> BinaryIO:
        with self._reached():
            return cast(BinaryIO, self.fs.open(f"{self.root}/{name}", "rb"))

    def text(self, name: str) -> str:
        with self.open(name) as file:
            return file.read().decode("utf-8")

    def make(self) -> None:
        """A bucket is not made: it costs money, and its name may be a slip of the pen.

        Raises:
            UserError: it cannot be made.
        """
        own = self.fs.protocol
        if not BUCKETS.isdisjoint({own} if isinstance(own, str) else own):
            return
        try:
            self.fs.makedirs(self.root, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.url}: cannot be made ({error.strerror or error})") from None

    def _scratch(self) -> Path:
        """Beside the files where they are local, so that putting one in place is a rename."""
        if self.is_local:
            return Path(self.root) / "unfinished.tmp"
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"scenescribe-{os.getuid()}" / name

    def scratch(self) -> Path:
        """A folder of this machine for what is not finished."""
        folder = self._scratch()
        if not self.is_local:
            _make_own(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_scratch(self) -> bool:
        return self._scratch().is_dir()

    def unfinished(self, name: str) -> Path:
        """A temporary file of this writer alone: on a cluster two may work on one shard for a while."""
        return self.scratch() / f"{name}.{os.getpid()}-{uuid4().hex[:8]}"

    def clear_scratch(self) -> None:
        """Throw away what an earlier run, or this one, left unfinished."""
        shutil.rmtree(self.scratch(), ignore_errors=True)

    def commit(self, unfinished: Path, name: str) -> None:
        """Put a finished file of `scratch` in place."""
        if self.is_local:
            _sync(unfinished)
            unfinished.replace(Path(self.root) / name)
        else:
            try:
                with self._reached():
                    self.fs.put_file(str(unfinished), f"{self.root}/{name}")
            except FileNotFoundError as error:
                raise UserError(f"{self.url}: no such bucket or folder ({error})") from None
            unfinished.unlink()

    def write(self, name: str, text: str) -> None:
        unfinished = self.unfinished(name)
        unfinished.write_text(text, encoding="utf-8")
        self.commit(unfinished, name)

    def remove(self, name: str) -> None:
        if self.has(name):
            self.fs.rm_file(f"{self.root}/{name}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time. For a folder that is not on this machine only the runs of this machine
        know of each other.

        Raises:
            UserError: another run has it.
        """
        place = Path(self.root) if self.is_local else self.scratch().with_suffix(".locks")
        with locked(place, self.url):
            yield


def _make_own(folder: Path) -> None:
    """A folder in the common temporary one, whose name anybody can guess.

    Raises:
        UserError: somebody else made it, to read or to misdirect what is written there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid():
        raise UserError(f"{folder}: belongs to somebody else; set TMPDIR to a folder of your own")
    folder.chmod(0o700)


def open_folder(url: str | Path) -> Folder:
    """
    Raises:
        UserError: no such kind of address, or its package is missing.
    """
    try:
        fs, root = fsspec.core.url_to_fs(str(url))
    except (ValueError, ImportError) as error:
        raise UserError(f"{url}: {one_line(error)}") from None
    return Folder(str(url), fs, str(root).rstrip("/") or "/")


def is_url(path: str | Path) -> bool:
    return "://" in str(path)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to. Left without an error, the file is on the disk and
    takes its place: readers see the old or the new, never half."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, text: str) -> None:
    """A text file, by `atomic`."""
    with atomic(Path(path)) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def listing_hash(entries: list[Any]) -> str:
    """Names a set of files by what can be known without reading them."""
    return hashlib.sha256(repr(sorted(entries)).encode("utf-8", "replace")).hexdigest()
