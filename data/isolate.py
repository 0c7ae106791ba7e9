"""Run a function over many items in worker processes that may hang, crash or eat memory.

Whatever one item does to its process costs that item only: the worker is replaced, the rest go on.
"""

from __future__ import annotations

import resource
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Generic, Literal, TypeVar

from pebble import ProcessExpired, ProcessPool

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """The item's process did not return a result."""

    reason: Literal["timeout", "memory", "crash"]
    detail: str


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One item and what came of it."""

    item: Item
    outcome: Result | Failure


def run_each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    timeout_s: float,
    memory_gib: float,
) -> Iterator[Done[Item, Result]]:
    """Yield one `Done` per item, in the order of `items`, which is read only as fast as needed.

    Workers are spawned (a forked decoder can hang) and limited to `memory_gib` of address space
    each. `function` and its results must be picklable.
    """
    pool = ProcessPool(
        max_workers=workers,
        context=get_context("spawn"),
        initializer=_set_limits,
        initargs=(memory_gib,),
    )
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with pool:
        try:
            for item in items:
                waiting.append((item, pool.schedule(function, args=(item,), timeout=timeout_s)))
                while len(waiting) >= 4 * workers:
                    yield _finish(*waiting.popleft(), timeout_s, memory_gib)
            while waiting:
                yield _finish(*waiting.popleft(), timeout_s, memory_gib)
        except BaseException:  # Ctrl-C or a closed generator: do not wait for what is queued
            pool.stop()
            raise


def _finish(
    item: Item, future: Future[Result], timeout_s: float, memory_gib: float
) -> Done[Item, Result]:
    try:
        return Done(item, future.result())
    except FutureTimeout:
        return Done(item, Failure("timeout", f"took longer than timeout_s={timeout_s:g}"))
    except ProcessExpired as error:
        return Done(item, Failure("crash", f"its process died with exit code {error.exitcode}"))
    except MemoryError:
        return Done(item, Failure("memory", f"needs more than memory_gib={memory_gib:g}"))
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises is that video's fault, and counted
        line = " ".join(str(error).split())[:300]
        return Done(item, Failure("crash", f"{type(error).__name__}: {line}"))


def _set_limits(memory_gib: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    limit = int(memory_gib * 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
