"""Stream a prepared dataset: it is read during training, without a copy or a download first.

Texts are small and read at the start. Frames are read one row group at a time, when their rows are
due. Row groups come in random order, and rows are shuffled within a buffer of groups. Every loader
process has groups of its own. The order depends on seed and epoch alone, so that a resumed run
continues with the next sample without reading the ones it skips.
"""

from __future__ import annotations

import math
import os
import random
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from torch.utils.data import Sampler
from tqdm import tqdm

from data.hub import opened, reading
from data.prepared.dataset import Prepared
from data.prepared.shards import read_columns

ROW = "row"
"""Column with a row's number in the prepared dataset."""


@dataclass(frozen=True)
class Groups:
    """The row groups of a prepared dataset."""

    places: tuple[tuple[str, int], ...]
    """Shard of each group, and the group's number in it."""
    starts: tuple[int, ...]
    """First row of each group."""

    def of(self, row: int) -> int:
        return bisect_right(self.starts, row) - 1


def read_texts(dataset: Prepared, columns: Sequence[str]) -> tuple[Dataset, Groups]:
    """The named columns of all rows, in memory, with their row numbers; no frame is read.

    Raises:
        UserError: the Hub refuses access.
    """
    tables, places, sizes = [], [], []
    for url in tqdm(dataset.shards, desc="texts", unit="shard", leave=False):
        with reading(url):
            file = pq.ParquetFile(opened(url), pre_buffer=False)
            # no threads: see `data.prepared.shards`
            tables.append(read_columns(file, columns))  # without threads: see there
        for group in range(file.num_row_groups):
            places.append((url, group))
            sizes.append(file.metadata.row_group(group).num_rows)
    table = pa.concat_tables(tables).replace_schema_metadata()
    table = table.append_column(ROW, pa.array(range(table.num_rows), type=pa.int64()))
    starts = tuple(accumulate(sizes[:-1], initial=0)) if sizes else ()
    return Dataset(table), Groups(tuple(places), starts)


@dataclass
class Pictures:
    """JPEG frames by row number; the `keep` row groups used last stay in memory."""

    groups: Groups
    keep: int
    _cache: OrderedDict[int, list[list[bytes]]] = field(default_factory=OrderedDict, repr=False)
    _files: dict[str, pq.ParquetFile] = field(default_factory=dict, repr=False)
    _process: int = 0

    def of(self, row: int) -> list[bytes]:
        """JPEGs of a row."""
        if self._process != os.getpid():  # a loader worker inherits no open file and no connection
            self._process, self._files, self._cache = os.getpid(), {}, OrderedDict()
        group = self.groups.of(row)
        if group not in self._cache:
            self._cache[group] = self._read(*self.groups.places[group])
            if len(self._cache) > self.keep:
                self._cache.popitem(last=False)
        self._cache.move_to_end(group)
        return self._cache[group][row - self.groups.starts[group]]

    def _read(self, url: str, group: int) -> list[list[bytes]]:
        with reading(url):
            if url not in self._files:
                self._files[url] = pq.ParquetFile(opened(url), pre_buffer=False)
            table = self._files[url].read_row_group(group, columns=["frames"], use_threads=False)
        return [[frame["bytes"] for frame in frames] for frames in table["frames"].to_pylist()]

    def __getstate__(self) -> dict[str, Any]:
        return {"groups": self.groups, "keep": self.keep}  # open files cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def with_pictures(dataset: Dataset, pictures: Pictures) -> Dataset:
    """The same rows with their frames in memory, for rows that are read many times."""
    rows = tqdm(dataset[ROW], desc="held-out videos", unit="video")
    frames = [[{"bytes": jpeg, "path": None} for jpeg in pictures.of(row)] for row in rows]
    return dataset.add_column("frames", frames)


class ShardShuffleSampler(Sampler[int]):
    """Positions in an order that reads each row group once, by one loader process.

    `lanes` is the number of loader processes on all devices. Batch b goes to lane b mod lanes, as
    accelerate distributes batches over devices and torch over their workers.
    """

    def __init__(
        self, groups: Sequence[int], *, batch: int, lanes: int, buffer_rows: int, seed: int
    ):
        """`groups[i]`: the row group of position i."""
        self._by_group: dict[int, list[int]] = {}
        for position, group in enumerate(groups):
            self._by_group.setdefault(group, []).append(position)
        self._count = len(groups)
        self._batch, self._lanes, self._seed = batch, lanes, seed
        largest = max(map(len, self._by_group.values()), default=1)
        self._window = window(buffer_rows, largest)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed} {self.epoch}")
        order = sorted(self._by_group)
        draw.shuffle(order)
        lanes = [self._shuffled(order[i :: self._lanes], draw) for i in range(self._lanes)]
        at = [0] * self._lanes
        left = self._count
        turn = 0
        while left:
            lane = turn % self._lanes
            if len(lanes[lane]) - at[lane] < min(self._batch, left):  # its rows are used up
                lane = max(range(self._lanes), key=lambda i: len(lanes[i]) - at[i])
            taken = lanes[lane][at[lane] : at[lane] + self._batch]
            at[lane] += len(taken)
            missing = min(self._batch, left) - len(taken)
            for other in range(self._lanes):  # the last batches take leftover rows of any lane
                more = lanes[other][at[other] : at[other] + missing]
                at[other] += len(more)
                taken += more
                missing -= len(more)
            left -= len(taken)
            turn += 1
            yield from taken

    def _shuffled(self, groups: Sequence[int], draw: random.Random) -> list[int]:
        """Positions of the given groups, shuffled within windows of groups."""
        result: list[int] = []
        for start in range(0, len(groups), self._window):
            rows = [r for g in groups[start : start + self._window] for r in self._by_group[g]]
            draw.shuffle(rows)
            result += rows
        return result


def window(buffer_rows: int, group_rows: int) -> int:
    """Number of row groups in the shuffle buffer."""
    return max(1, math.ceil(buffer_rows / group_rows))
