"""Makes the video of each sample a local file: downloads it, or unpacks it from a Parquet file or a zip."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from data.config import GIB
from data.errors import UserError, one_line
from data.media import HubFile, Local, Media, Missing, ParquetCell, VideoFile, ZipMember

DOWNLOADS = 8
"""Parallel downloads from the Hub."""
AHEAD = 16
"""Most videos that are fetched ahead of the decoder: bounds the disk space they take."""
DAMAGED = (
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
)
"""What `zipfile` raises for a member that exists but cannot be read."""
MAX_BYTES = 8 * GIB
"""A larger video is not unpacked from a zip."""
Item = TypeVar("Item")


class Unpacker:
    """Turns media into local files. Media of one container must come in the container's order.

    A Parquet file or a zip stays open from one video to the next, and is read forward only.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = 0
        self._cells: _Cells | None = None
        self._zip: tuple[str, zipfile.ZipFile] | None = None

    def to_local_file(self, media: Media) -> Local:
        """The local file of one medium; bytes from a container are written to `folder`.

        Raises:
            Missing: it is not where the source said, or cannot be read.
            UserError: the Hub or the store cannot be reached.
        """
        if isinstance(media, ParquetCell):
            from data.hub import reading

            with reading(media.url):
                return self._write_file(self._cell(media), media.name)
        if isinstance(media, ZipMember):
            return self._member(media)
        if isinstance(media, HubFile):
            return _downloaded(media)
        return media

    def _cell(self, media: ParquetCell) -> bytes:
        if self._cells is None or not self._cells.reaches(media):
            self._cells = _Cells(media)
        return self._cells.read(media.row)

    def _write_file(self, content: bytes, name: str) -> VideoFile:
        path = self._new_path()
        path.write_bytes(content)
        return VideoFile(str(path), shown=name)

    def _new_path(self) -> Path:
        self._count += 1
        return self._folder / f"{self._count}.video"

    def _member(self, media: ZipMember) -> VideoFile:
        try:
            if self._zip is None or self._zip[0] != media.archive:
                self._zip = (media.archive, zipfile.ZipFile(media.archive))
            if self._zip[1].getinfo(media.member).file_size > MAX_BYTES:
                raise Missing(f"{media.name}: larger than {MAX_BYTES} bytes", "too large")
            path = self._new_path()
            with self._zip[1].open(media.member) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
            return VideoFile(str(path), shown=media.name)
        except (KeyError, FileNotFoundError) as error:
            raise Missing(f"{media.name}: {error}") from None
        except DAMAGED as error:
            raise Missing(f"{media.name}: {error}", "unreadable") from None


class _Cells:
    """One column of one Parquet file, read forward row by row, without a whole row group in memory."""

    def __init__(self, first: ParquetCell):
        import pyarrow.parquet as pq

        from data.hub import opened

        self._url, self._column = first.url, first.column
        # a buffered stream: otherwise a whole column chunk (FineVideo: 0.45 GB) is in memory
        self._file = pq.ParquetFile(opened(first.url), buffer_size=2**20, pre_buffer=False)
        counts = [
            self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)
        ]
        group, self._next = 0, 0
        while group < len(counts) and self._next + counts[group] <= first.row:
            self._next += counts[group]
            group += 1
        self._batches = self._file.iter_batches(
            batch_size=1,
            row_groups=range(group, len(counts)),
            columns=[first.column],
            use_threads=False,
        )

    def reaches(self, cell: ParquetCell) -> bool:
        """Whether the cell lies ahead in this column."""
        return (cell.url, cell.column) == (self._url, self._column) and cell.row >= self._next

    def read(self, row: int) -> bytes:
        """The bytes of a row that lies ahead.

        Raises:
            Missing: the row does not exist or holds no bytes.
        """
        batch: Any = None
        while self._next <= row:
            batch = next(self._batches, None)
            self._next += 1
        value = None if batch is None else batch.column(0)[0].as_py()
        if isinstance(value, dict):  # as `datasets` stores its Video type
            value = value.get("bytes")
        if not isinstance(value, bytes) or not value:
            raise Missing(f"{self._url}#{row}: no bytes in column {self._column}")
        return value


def _downloaded(media: HubFile) -> VideoFile:
    """The file in the Hub's local cache, downloaded if it is not there yet.

    Raises:
        Missing: the repository has no such file.
        UserError: the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from data.hub import hub_errors

    with hub_errors(media.repo, dataset=True):
        try:
            path = hf_hub_download(
                media.repo, media.path, repo_type="dataset", revision=media.revision
            )
        except LocalEntryNotFoundError:  # no network: not this file's fault
            raise
        except EntryNotFoundError:
            raise Missing(f"{media.name}: no such file") from None
    return VideoFile(path, shown=media.name)


def fetch_ahead(
    items: Iterable[Item],
    media_of: Callable[[Item], Media | None],
    with_local: Callable[[Item, Local | Missing], Item],
    folder: Path,
) -> Iterator[Item]:
    """The items in order, their media fetched: `with_local` gets each item and its local file, or `Missing`.

    Downloads run ahead in threads; containers are read in order, by this thread.
    """
    unpacker = Unpacker(folder)
    waiting: deque[tuple[Item, Future[Local] | Local | Missing | None]] = deque()

    def next_item() -> Item:
        item, local = waiting.popleft()
        if isinstance(local, Future):
            try:
                local = local.result()
            except Missing as missing:
                local = missing
        return item if local is None else with_local(item, local)

    threads = ThreadPoolExecutor(DOWNLOADS)
    try:
        for item in items:
            media = media_of(item)
            local: Future[Local] | Local | Missing | None
            if isinstance(media, HubFile):
                local = threads.submit(_downloaded, media)
            else:
                try:
                    local = None if media is None else unpacker.to_local_file(media)
                except Missing as missing:
                    local = missing
            waiting.append((item, local))
            # only downloads gain by running ahead; unpacked videos would only take disk space
            if not isinstance(local, Future) or len(waiting) >= AHEAD:
                yield next_item()
            while waiting and not isinstance(waiting[0][1], Future):
                yield next_item()
        while waiting:
            yield next_item()
    except OSError as error:
        raise _source_error(error) from None
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _source_error(error: OSError) -> Exception:
    """The exception that stops the run when a store fails while it is read: to skip the row instead would
    quarantine all remaining rows. An error that names no file and no errno becomes a UserError."""
    if error.filename is None and error.errno is None:
        return UserError(
            f"reading the source failed ({one_line(error)}); run the same command again to continue"
        )
    return error
