"""Reading chosen columns of datasets stored as Parquet: in a folder, behind a URL, or on the Hub."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec

from data.errors import UserError, one_line
from data.hub import dataset_commit, dataset_files, opened, reading
from data.sources.config import SourceKeys
from data.storage import is_url, listing_hash, open_folder


def hub_repo(keys: SourceKeys, default: str) -> str | None:
    """`owner/name` if the rows are a dataset on the Hub, else None."""
    if keys.path is None:
        return default
    found = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)/?", keys.path)
    return found[1] if found else None


def tables(keys: SourceKeys, default: str, pattern: str) -> list[str]:
    """Paths or URLs of the Parquet files whose path in the dataset matches `pattern`, in a fixed order.

    Raises:
        UserError: no such dataset, folder or file.
    """
    repo = hub_repo(keys, default)
    if repo is not None:
        commit = dataset_commit(repo, keys.revision)
        names = [n for n in dataset_files(repo, commit) if fnmatch.fnmatch(n, pattern)]
        found = [f"hf://datasets/{repo}@{commit}/{name}" for name in names]
    else:
        assert keys.path is not None
        found = _below(keys.path, pattern)
    if not found:
        raise UserError(f"source.path={keys.path or repo}: holds no {pattern}")
    if keys.shuffle_seed is not None:
        random.Random(keys.shuffle_seed).shuffle(found)
    return found


def _below(path: str, pattern: str) -> list[str]:
    folder = open_folder(path)
    if folder.fs.isfile(folder.root):
        return [path] if path.endswith(".parquet") else []
    if not folder.fs.isdir(folder.root):
        raise UserError(f"source.path={path}: no such file or folder")
    found = sorted(str(p) for p in folder.fs.find(folder.root) if str(p).endswith(".parquet"))
    # the dataset's own layout, or just these files
    flat = f"{folder.root}/{pattern.rsplit('/', 1)[-1]}"
    inside = [p for p in found if fnmatch.fnmatch(p, f"*/{pattern}")] or [
        p for p in found if fnmatch.fnmatch(p, flat) and p.count("/") == flat.count("/")
    ]
    return [p if folder.is_local else str(folder.fs.unstrip_protocol(p)) for p in inside]


def table_rows(
    url: str, columns: Sequence[str], optional: Sequence[str] = (), later: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number, row) for every row. A row holds `columns`, and those of `optional` that exist; no other
    column is read. The columns in `later` must exist but are not read.

    Raises:
        UserError: not a Parquet file, a column is missing, or the Hub cannot be reached.
    """
    with reading(url):
        file = _table(url)
        there = file.schema_arrow.names
        missing = [c for c in (*columns, *later) if c not in there]
        if missing:
            raise UserError(
                f"{url}: no column {', '.join(map(repr, missing))}; it has {', '.join(there)}. "
                "Was it renamed? source.revision=… gives an earlier state of a dataset on the Hub"
            )
        wanted = [*columns, *(c for c in optional if c in there)]
        number = 0
        for batch in file.iter_batches(batch_size=16, columns=wanted, use_threads=False):
            for row in batch.to_pylist():
                yield number, row
                number += 1


def num_rows(urls: Sequence[str]) -> int:
    """Total number of rows, from the files' footers.

    Raises:
        UserError: one of them is not a Parquet file.
    """
    return sum(_table(url).metadata.num_rows for url in urls)


def _table(url: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(opened(url), pre_buffer=False)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise UserError(f"{url}: no Parquet file ({one_line(error)})") from None


def tables_version(keys: SourceKeys, default: str, pattern: str) -> str:
    """The commit on the Hub, or a hash of the files' names and sizes.

    Raises:
        UserError: no such dataset, folder or file.
    """
    repo = hub_repo(keys, default)
    if repo is not None:
        return dataset_commit(repo, keys.revision)
    sizes = []
    for url in tables(keys, default, pattern):
        fs, path = fsspec.core.url_to_fs(url)
        sizes.append((url.rsplit("/", 1)[-1], fs.size(path)))
    return listing_hash(sizes)


def is_local_file(url: str) -> bool:
    return not is_url(url) and Path(url).is_file()
