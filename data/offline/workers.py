"""A pool of worker processes that work on one task at a time and may be killed at any moment.

Every worker has its own pipe, so its death is noticed at once, is attributed to its task, and does not
affect other workers. Pools whose workers share a queue can lose a task or hang forever when a worker dies
while it holds the queue's lock. Pebble's ProcessPool was tried (5.2.3):
with workers killed at random moments it broke, and 282 of 300 tasks ended in BrokenProcessPool.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from data.errors import UserError

STARTS = 10
"""After this many workers in a row that died before they began a task, the run stops with an error."""
START_S = 120.0
"""Time limit for a worker to load its libraries and begin a task; then it counts as dead."""
FITS = 2**14
"""Bytes that can be written to an empty pipe without blocking, on any system."""
TASKS = 500
"""Tasks after which a worker is replaced, so that memory leaks of libraries do not add up over days."""


_PARENT: Connection | None = None
"""In a worker: the pipe to the process that supervises it."""


def still_working(what: str = "") -> None:
    """In a worker: give the task its whole time limit again, because a part of it is done. `what`: shown as
    the progress."""
    if _PARENT is not None:
        _PARENT.send(("begun", what))


class Died(Exception):
    """The worker process of a task ended; `exitcode` is negative for a signal."""

    def __init__(self, exitcode: int | None):
        super().__init__(exitcode)
        self.exitcode = exitcode


class TimeUp(Exception):
    """The task exceeded its timeout, and its worker process was killed."""


@dataclass
class _Task:
    content: Any
    future: Future[Any]
    deadline: float = float("inf")
    begun: bool = False


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: _Task | None = None
    done: int = 0
    sender: threading.Thread | None = None

    def send(self, content: Any) -> None:
        """Send a task without blocking: one that does not fit into the pipe is sent by a thread. A worker
        that does not read must not delay the supervising thread, which enforces the others' deadlines."""
        packed = ForkingPickler.dumps(content)
        if len(packed) <= FITS:
            self.pipe.send_bytes(packed)
            return
        self.sender = threading.Thread(target=_send, args=(self.pipe, packed), daemon=True)
        self.sender.start()

    def close(self) -> None:
        """Close the pipe. Call it after the process has ended: then the sender thread cannot block."""
        if self.sender is not None:
            self.sender.join()
        self.pipe.close()


def _send(pipe: Connection, packed: Any) -> None:
    with suppress(OSError):  # the process ended: the supervising thread notices
        pipe.send_bytes(packed)


class Workers:
    """Up to `count` worker processes that run `function` on submitted tasks, supervised by a thread.

    Args:
        timeout_s: time limit per task, from its beginning.
        prepare: called once in each new worker.
        on_progress: called, in the supervising thread, with what a worker says of its task.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        count: int,
        timeout_s: float,
        prepare: Callable[[], None],
        on_progress: Callable[[str], None] | None = None,
    ):
        self._on_progress = on_progress
        self._context = get_context("spawn")  # a forked decoder can hang
        self._worker_args = (function, prepare)
        self._timeout_s = timeout_s
        self._waiting: deque[_Task] = deque()
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = self._context.Pipe(duplex=False)
        self._closed = False
        self._failed_starts = 0
        self._broken: BaseException | None = None
        self._count = count
        self._workers: list[_Worker] = []
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def submit(self, content: Any, *, first: bool = False) -> Future[Any]:
        """A future of the result; it raises `Died`, `TimeUp`, or what the function raised. `first`: the task
        goes before all waiting ones."""
        task = _Task(content, Future())
        with self._lock:
            if self._broken is not None:
                task.future.set_exception(self._broken)
            elif first:
                self._waiting.appendleft(task)
            else:
                self._waiting.append(task)
        self._wake_out.send_bytes(b"w")
        return task.future

    def close(self) -> None:
        """Kill all workers, also those that still work."""
        self._closed = True
        self._wake_out.send_bytes(b"w")
        self._thread.join()
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.close()

    def _supervise(self) -> None:
        """The thread: an error of its own fails all tasks, so that no caller waits forever."""
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - passed on to the futures
            with self._lock:
                self._broken = error
                left = [w.task for w in self._workers if w.task] + list(self._waiting)
                self._waiting.clear()
            for task in left:
                if not task.future.done():
                    task.future.set_exception(error)

    def _serve(self) -> None:
        """Hand out tasks, receive answers and enforce deadlines, until the pool is closed."""
        while not self._closed:
            self._assign()
            by_pipe = {w.pipe: w for w in self._workers}
            until = min((w.task.deadline for w in self._workers if w.task), default=float("inf"))
            timeout = None if until == float("inf") else max(0.0, until - time.monotonic())
            for ready in wait([*by_pipe, self._wake_in], timeout):
                if ready is self._wake_in:
                    self._wake_in.recv_bytes()
                else:
                    self._receive(by_pipe[ready])  # type: ignore[index] # only pipes are waited for
            for worker in list(self._workers):
                if worker.task and worker.task.deadline <= time.monotonic():
                    self._kill(worker, TimeUp() if worker.task.begun else Died(None))

    def _assign(self) -> None:
        """Give a waiting task to every idle worker; start new workers only while tasks are waiting."""
        with self._lock:
            while self._waiting:
                worker = next((w for w in self._workers if w.task is None), None)
                if worker is None and len(self._workers) < self._count:
                    worker = self._start()
                if worker is None:
                    return
                worker.task = self._waiting.popleft()
                worker.task.begun = False
                worker.task.deadline = time.monotonic() + START_S
                try:
                    worker.send(worker.task.content)
                except OSError:  # it died before it got the task: not the task's fault
                    self._waiting.appendleft(worker.task)
                    worker.task = None
                    self._drop(worker)
                    self._failed_start()
                except Exception as error:  # noqa: BLE001 - a task that cannot be pickled fails alone
                    task, worker.task = worker.task, None
                    task.future.set_exception(error)

    def _start(self) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, *self._worker_args), daemon=False
        )
        process.start()
        there.close()  # the worker holds the only copy: the pipe breaks when the process ends
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker) -> None:
        """Read one message of a worker: `begun`, `done` or `failed`, or its death."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._kill(worker, Died(None))
            return
        except Exception as error:  # noqa: BLE001 - an answer that cannot be unpickled fails alone
            kind, value = "failed", error
        assert worker.task is not None
        if kind == "begun":
            worker.task.deadline = time.monotonic() + self._timeout_s
            worker.task.begun = True
            self._failed_starts = 0
            if value and self._on_progress is not None:
                self._on_progress(value)
            return
        task, worker.task = worker.task, None
        worker.done += 1
        if worker.done >= TASKS:
            self._drop(worker)
        if kind == "done":
            task.future.set_result(value)
        else:
            task.future.set_exception(value)

    def _kill(self, worker: _Worker, why: Died | TimeUp) -> None:
        """Remove a worker that is dead or too late; its task fails with `why`, or waits again if it had not
        begun."""
        task, worker.task = worker.task, None
        exitcode = self._drop(worker)
        if task is None:
            return
        if isinstance(why, Died):
            if not task.begun:  # the worker died while it was starting: not the task's fault
                with self._lock:
                    self._waiting.appendleft(task)
                self._failed_start()
                return
            why = Died(exitcode)
        task.future.set_exception(why)

    def _failed_start(self) -> None:
        self._failed_starts += 1
        if self._failed_starts >= STARTS:
            raise UserError(
                f"{STARTS} worker processes in a row died before they began; their messages are above. "
                "Is memory_gib too small for the libraries?"
            )

    def _drop(self, worker: _Worker) -> int | None:
        """Remove a worker and make sure that its process has ended; returns the exit code."""
        self._workers.remove(worker)
        worker.process.join(timeout=0.2)  # if it is just ending by itself, keep its exit code
        worker.process.kill()
        worker.process.join()
        worker.close()
        return worker.process.exitcode


def _work(pipe: Connection, function: Callable[[Any], Any], prepare: Callable[[], None]) -> None:
    """The main loop of a worker: works on task after task, until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the parent
    prepare()
    global _PARENT
    _PARENT = pipe
    while True:
        try:
            content = pipe.recv()
            pipe.send(("begun", ""))
            try:
                answer = ("done", function(content))
            except Exception as error:  # noqa: BLE001 - the future raises it in the parent
                answer = ("failed", error)
            pipe.send(answer)
        except (EOFError, BrokenPipeError):
            return
