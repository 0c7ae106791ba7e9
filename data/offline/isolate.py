"""Runs a function over many items in worker processes that may hang, crash or run out of memory.

If an item hangs or crashes its process, only that item fails: the worker is replaced, the others continue.
A process may also die through no fault of its item (the system's out-of-memory killer), so an item whose
process died is tried again before it fails.
"""

from __future__ import annotations

import faulthandler
import hashlib
import os
import re
import resource
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar

import psutil

from data.config import GIB
from data.errors import UserError, one_line
from data.offline import workers as pool_of
from data.offline.workers import Died, TimeUp, Workers

Item = TypeVar("Item")
Result = TypeVar("Result")
TRIES = 3
"""Number of processes that die on an item before the item fails."""
NO_MEMORY = 77
"""Exit code of a worker whose item exceeded the memory limit."""
KILLS = 10
"""Number of SIGKILLs (out-of-memory killer, an operator) before an item fails: they say little about it."""


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    reason: Literal["timeout", "memory", "crash"]
    detail: str
    digest: str = ""
    """Hash of the stack trace: equal digests, equal cause."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One item and its outcome."""

    item: Item
    outcome: Result | Failure


def run_each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    timeout_s: float,
    memory_gib: float,
    on_progress: Callable[[str], None] | None = None,
) -> Iterator[Done[Item, Result]]:
    """Yield one `Done` per item, in the order of `items`, which is read only as fast as needed.

    `timeout_s` is the time limit of an item, or of each part of it that `part_done` reports.
    `on_progress` is called with what `part_done` says.

    Workers are spawned (a forked decoder can hang). Each is limited to `memory_gib` of private memory
    (RLIMIT_DATA; a limit of the address space would also count what libraries only map). `function` and its
    results must be picklable. A UserError of `function` ends the run.
    """
    with tempfile.TemporaryDirectory(prefix="scenescribe-") as traces:
        work = partial(_traced, function, traces, timeout_s)
        pool = Workers(
            work,
            count=workers,
            timeout_s=timeout_s,
            prepare=partial(_set_limits, memory_gib),
            on_progress=on_progress,
        )

        def next_result() -> Done[Item, Result]:
            number, item, future = waiting.popleft()
            outcome: Result | Failure
            deaths = kills = 0
            while True:
                try:
                    outcome = future.result()
                    break
                except TimeUp:
                    where, digest = _last_traceback(Path(traces, str(number)))
                    late = f"took longer than timeout_s={timeout_s:g}{where}"
                    outcome = Failure("timeout", late, digest)
                    break
                except Died as died:
                    kills += died.exitcode == -signal.SIGKILL
                    deaths += died.exitcode != -signal.SIGKILL
                    if deaths < TRIES and kills < KILLS:
                        future = pool.submit((number, item), first=True)
                        continue
                    where, digest = _last_traceback(Path(traces, str(number)))
                    if died.exitcode == NO_MEMORY:
                        outcome = Failure(
                            "memory", f"needs more than memory_gib={memory_gib:g}", digest
                        )
                    else:
                        how = f"its process died with exit code {died.exitcode}{where}"
                        outcome = Failure("crash", how, digest)
                    break
            Path(traces, str(number)).unlink(missing_ok=True)
            return Done(item, outcome)

        waiting: deque[tuple[int, Item, Future[Result | Failure]]] = deque()
        try:
            for number, item in enumerate(items):
                waiting.append((number, item, pool.submit((number, item))))
                while len(waiting) >= 4 * workers:
                    yield next_result()
            while waiting:
                yield next_result()
        finally:
            pool.close()


_restart_clock: Callable[[], None] | None = None
"""In a worker: puts off the traceback that is written before the timeout."""


def part_done(what: str) -> None:
    """In a worker: a part of the item is done, so that the next part has the whole time limit again."""
    if _restart_clock is not None:
        _restart_clock()
    pool_of.still_working(what)


def _traced(
    function: Callable[[Item], Result],
    traces: str,
    timeout_s: float,
    numbered: tuple[int, Item],
) -> Result | Failure:
    """Run the function in the worker. A traceback is written to a file on a fatal signal and shortly before
    the timeout, when no Python code may be able to run any more."""
    number, item = numbered
    with Path(traces, str(number)).open("w") as file:
        faulthandler.enable(file, all_threads=False)
        global _restart_clock
        late_s = max(0.9 * timeout_s, timeout_s - 1)
        _restart_clock = partial(faulthandler.dump_traceback_later, late_s, file=file)
        _restart_clock()
        try:
            return function(item)
        except (
            MemoryError
        ) as error:  # earlier items' leaks may be the cause: retry in a new process
            traceback.print_exception(error, file=file)
            file.flush()
            os._exit(NO_MEMORY)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the video is quarantined
            return Failure("crash", f"{type(error).__name__}: {one_line(error)}", digest_of(error))
        finally:
            _restart_clock = None
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()


def digest_of(error: BaseException) -> str:
    """Eight hex digits: a hash of an error's type and of its stack trace."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(f.filename).name}:{f.lineno}:{f.name}" for f in frames]
    return _digest([type(error).__name__, *lines])


def _digest(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "replace"), digest_size=4).hexdigest()


_FRAME = re.compile(r'File "([^"]*)", line (\d+),? in (\S+)')


def _last_traceback(trace: Path) -> tuple[str, str]:
    """From the traceback file of a process: its innermost line, as text to append to a message, and a digest.
    Both are empty if there is no traceback."""
    try:
        text = trace.read_text(errors="replace")
    except OSError:
        return "", ""
    frames = [f"{Path(file).name}:{line}:{name}" for file, line, name in _FRAME.findall(text)]
    if "most recent call last" in text:
        frames.reverse()
    # innermost first; what comes after `_traced` belongs to the worker's main loop
    frames = frames[
        : next((i for i, f in enumerate(frames) if f.endswith(":_traced")), len(frames))
    ]
    if not frames:
        return "", ""
    return f" in {frames[0]}", _digest(frames)


def _set_limits(memory_gib: float) -> None:
    """Limit this process's private memory; a lower hard limit of the system stays."""
    limit = int(memory_gib * GIB)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def fitting_workers(memory_gib: float) -> int:
    """Number of workers for which this machine has cores, and memory even if each reaches its limit."""
    # joblib knows a container's share of the cores; importing it takes a quarter of a second
    from joblib import cpu_count

    return max(1, min(cpu_count(), int(memory_bytes() / (memory_gib * GIB))))


def memory_bytes() -> int:
    """Total memory of this machine, or of the container if that has less."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
