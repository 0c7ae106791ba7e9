"""Processes that work on one task each, and may be killed at any moment.

Every worker has a pipe of its own, so that its death is seen at once, is charged to the task it had,
and harms no other: pools whose workers share a queue can lose a task or stand still for ever when
one of them dies with its hand on the queue's lock. Pebble's pool, which has limits like these, was
tried and lost tasks that way.
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
"""Workers in a row that die before they begin anything: then something is wrong with all of them."""
START_S = 120.0
"""To load libraries and begin; longer is as good as dead."""
FITS = 2**14
"""Bytes that an empty pipe takes at once on any system."""
TASKS = 500
"""After so many a worker is replaced: what libraries leak does not add up over days."""


class Died(Exception):
    """The process of a task ended; `exitcode` is negative for a signal."""

    def __init__(self, exitcode: int | None):
        super().__init__(exitcode)
        self.exitcode = exitcode


class TimeUp(Exception):
    """The task took too long, and its process was killed."""


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
        """What fits into the pipe at once; the rest is left to a thread, for whoever does not read blocks
        who writes, and the others' deadlines are to be kept."""
        packed = ForkingPickler.dumps(content)
        if len(packed) <= FITS:
            self.pipe.send_bytes(packed)
            return
        self.sender = threading.Thread(target=_send, args=(self.pipe, packed), daemon=True)
        self.sender.start()

    def close(self) -> None:
        """Once its process has ended: then nothing blocks a sender any more."""
        if self.sender is not None:
            self.sender.join()
        self.pipe.close()


def _send(pipe: Connection, packed: Any) -> None:
    with suppress(OSError):  # its process ended: that is seen at the pipe's other end
        pipe.send_bytes(packed)


class Workers:
    """`count` processes that run `function` on what is submitted. A thread looks after them."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        count: int,
        timeout_s: float,
        prepare: Callable[[], None],
    ):
        self._context = get_context("spawn")  # a forked decoder can hang
        self._main = (function, prepare)
        self._timeout_s = timeout_s
        self._waiting: deque[_Task] = deque()
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = self._context.Pipe(duplex=False)
        self._closed = False
        self._failed_starts = 0
        self._broken: BaseException | None = None
        self._count = count
        self._workers: list[_Worker] = []
        self._thread = threading.Thread(target=self._look_after, daemon=True)
        self._thread.start()

    def submit(self, content: Any, *, first: bool = False) -> Future[Any]:
        """Its result, `Died`, `TimeUp`, or what the function raised. `first`: before all others."""
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
        """Kill whatever still runs."""
        self._closed = True
        self._wake_out.send_bytes(b"w")
        self._thread.join()
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.close()

    def _look_after(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - nobody would wait for the others in vain
            with self._lock:
                self._broken = error
                left = [w.task for w in self._workers if w.task] + list(self._waiting)
                self._waiting.clear()
            for task in left:
                if not task.future.done():
                    task.future.set_exception(error)

    def _serve(self) -> None:
        while not self._closed:
            self._assign()
            by_pipe = {w.pipe: w for w in self._workers}
            until = min((w.task.deadline for w in self._workers if w.task), default=float("inf"))
            timeout = None if until == float("inf") else max(0.0, until - time.monotonic())
            for ready in wait([*by_pipe, self._wake_in], timeout):
                if ready is self._wake_in:
                    self._wake_in.recv_bytes()
                else:
                    self._hear(by_pipe[ready])  # type: ignore[index] # only pipes are waited for
            for worker in list(self._workers):
                if worker.task and worker.task.deadline <= time.monotonic():
                    self._end(worker, TimeUp() if worker.task.begun else Died(None))

    def _assign(self) -> None:
        """Give every idle worker a task; start workers only for tasks that wait."""
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
                except OSError:  # it died before it had the task: no fault of that
                    self._waiting.appendleft(worker.task)
                    worker.task = None
                    self._drop(worker)
                    self._failed_start()
                except Exception as error:  # noqa: BLE001 - what cannot be sent fails; the thread must live
                    task, worker.task = worker.task, None
                    task.future.set_exception(error)

    def _start(self) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(there, *self._main), daemon=False)
        process.start()
        there.close()  # its copy alone keeps the pipe open: it breaks when the process ends
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._end(worker, Died(None))
            return
        except Exception as error:  # noqa: BLE001 - an answer that cannot be read; the thread must live
            kind, value = "failed", error
        assert worker.task is not None
        if kind == "begun":
            worker.task.deadline = time.monotonic() + self._timeout_s
            worker.task.begun = True
            self._failed_starts = 0
            return
        task, worker.task = worker.task, None
        worker.done += 1
        if worker.done >= TASKS:
            self._drop(worker)
        if kind == "done":
            task.future.set_result(value)
        else:
            task.future.set_exception(value)

    def _end(self, worker: _Worker, why: Died | TimeUp) -> None:
        """The worker is gone or goes now; its task hears why."""
        task, worker.task = worker.task, None
        exitcode = self._drop(worker)
        if task is None:
            return
        if isinstance(why, Died):
            if not task.begun:  # killed while it was starting up: no fault of the task
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
                f"{STARTS} worker processes in a row died before they began; what they say is above. "
                "Is memory_gib too small for the libraries?"
            )

    def _drop(self, worker: _Worker) -> int | None:
        self._workers.remove(worker)
        worker.process.join(timeout=0.2)  # ended by itself: keep its exit code
        worker.process.kill()
        worker.process.join()
        worker.close()
        return worker.process.exitcode


def _work(pipe: Connection, function: Callable[[Any], Any], prepare: Callable[[], None]) -> None:
    """In a worker: task after task, until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the parent
    prepare()
    while True:
        try:
            content = pipe.recv()
            pipe.send(("begun", None))
            try:
                answer = ("done", function(content))
            except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
                answer = ("failed", error)
            pipe.send(answer)
        except (EOFError, BrokenPipeError):
            return
