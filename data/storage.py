"""Output folders: local, or on anything that fsspec reaches (s3://, gs://, hf://, memory://).

Every file is first written on this machine under a temporary name and then moved into place whole: a
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
"""Protocols of object stores, which have no folders, only names with slashes in them."""


@dataclass(frozen=True)
class Folder:
    """A folder on one of fsspec's file systems."""

    url: str
    """As the user wrote it."""
    fs: fsspec.AbstractFileSystem
    root: str
    """Its path on the file system `fs`."""

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def location(self, name: str) -> str:
        """The plain path or the URL of a file, for other libraries to open."""
        path = f"{self.root}/{name}"
        return path if self.is_local else str(self.fs.unstrip_protocol(path))

    def names(self) -> set[str]:
        """Names of the files and folders directly inside; empty if the folder does not exist."""
        with self._fresh():
            try:
                return {Path(p).name for p in self.fs.ls(self.root, detail=False) if p != self.root}
            except (FileNotFoundError, NotADirectoryError):
                return set()

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        """Context for reaching the folder. Cached listings are dropped first, because others write here
        too. Any error of a remote store becomes a one-line UserError."""
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
        with self._fresh():
            return bool(self.fs.isfile(f"{self.root}/{name}"))

    def open(self, name: str) -> BinaryIO:
        with self._fresh():
            return cast(BinaryIO, self.fs.open(f"{self.root}/{name}", "rb"))

    def text(self, name: str) -> str:
        with self.open(name) as file:
            return file.read().decode("utf-8")

    def make(self) -> None:
        """Create the folder. A bucket is not created: it costs money, and its name may be a typo.

        Raises:
            UserError: it cannot be created.
        """
        own = self.fs.protocol
        if not BUCKETS.isdisjoint({own} if isinstance(own, str) else own):
            return
        try:
            self.fs.makedirs(self.root, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.url}: cannot be made ({error.strerror or error})") from None

    def _scratch(self) -> Path:
        """Path of the scratch folder: inside a local folder, so that moving a file into place is a rename."""
        if self.is_local:
            return Path(self.root) / "unfinished.tmp"
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"scenescribe-{os.getuid()}" / name

    def scratch(self) -> Path:
        """A local folder for unfinished files, created if it does not exist."""
        folder = self._scratch()
        if not self.is_local:
            _make_own(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_scratch(self) -> bool:
        return self._scratch().is_dir()

    def unfinished(self, name: str) -> Path:
        """Path of a temporary file for this writer alone: on a cluster, two may write one shard at once."""
        return self.scratch() / f"{name.replace('/', '-')}.{os.getpid()}-{uuid4().hex[:8]}"

    def clear_scratch(self) -> None:
        """Delete the unfinished files of earlier runs and of this one."""
        shutil.rmtree(self.scratch(), ignore_errors=True)

    def commit(self, unfinished: Path, name: str) -> None:
        """Move a finished file from `scratch` into place."""
        if self.is_local:
            _sync(unfinished)
            place = Path(self.root) / name
            place.parent.mkdir(exist_ok=True)
            unfinished.replace(place)
        else:
            try:
                with self._fresh():
                    self.fs.put_file(str(unfinished), f"{self.root}/{name}")
            except FileNotFoundError as error:
                raise UserError(f"{self.url}: no such bucket or folder ({error})") from None
            unfinished.unlink()

    def write(self, name: str, text: str) -> None:
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        unfinished = self.unfinished(name)
        unfinished.write_bytes(content)
        self.commit(unfinished, name)

    def remove(self, name: str) -> None:
        if self.has(name):
            self.fs.rm_file(f"{self.root}/{name}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock: one run at a time. For a remote folder, only runs on this machine see
        each other's locks.

        Raises:
            UserError: another run holds it.
        """
        place = Path(self.root) if self.is_local else self.scratch().with_suffix(".locks")
        with locked(place, self.url):
            yield


def _make_own(folder: Path) -> None:
    """Create a folder of this user in the shared temporary folder, where anybody can guess its name.

    Raises:
        UserError: another user created it, perhaps to read or to redirect what is written there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid():
        raise UserError(f"{folder}: belongs to somebody else; set TMPDIR to a folder of your own")
    folder.chmod(0o700)


def open_folder(url: str | Path) -> Folder:
    """The folder at a path or URL.

    Raises:
        UserError: the URL's protocol is unknown, or its package is missing.
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
    """Yield a temporary path beside `path` to write to. Without an error, that file is flushed to disk and
    then replaces `path`: readers see the old file or the new one, never half of one."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file with `atomic`."""
    with atomic(Path(path)) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def listing_hash(entries: list[Any]) -> str:
    """A hash that identifies a set of files by facts known without reading them, such as names and sizes."""
    return hashlib.sha256(repr(sorted(entries)).encode("utf-8", "replace")).hexdigest()
