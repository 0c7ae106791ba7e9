"""Whatever one item does to its process costs that item only."""

import ctypes
import os
import signal
import threading
import time
from functools import partial

import psutil
import pytest

from data.errors import UserError
from data.offline.isolate import Failure, run_each
from data.offline.workers import Workers


def work(item: str) -> str:
    if item == "hang":
        time.sleep(60)
    if item == "hang with the GIL":  # as a decoder's endless loop does: no Python code runs
        ctypes.PyDLL(None).sleep(60)
    if item == "die":
        os.abort()
    if item == "vanish":
        os._exit(3)
    if item == "eat":
        bytearray(8 * 2**30)
    if item == "raise":
        raise RuntimeError("two\nlines")
    if item == "mistake":
        raise UserError("mend it")
    if item == "strange answer":
        return lambda: 0
    if item == "strange error":
        raise Picky("a", "b")
    if item.startswith("nap"):
        time.sleep(0.2)
    return item.upper()


class Picky(Exception):
    """Cannot be rebuilt from its args, as many libraries' exceptions."""

    def __init__(self, a: str, b: str):
        super().__init__(f"{a} {b}")


def test_bad_items_fail_alone_and_order_is_kept():
    items = ["a", "die", "b", "eat", "hang", "c", "raise", "vanish", "hang with the GIL", "d"]
    done = list(run_each(work, items, workers=2, timeout_s=3, memory_gib=2))
    assert [d.item for d in done] == items
    outcomes = {d.item: d.outcome for d in done}
    assert [outcomes[x] for x in "abcd"] == list("ABCD")
    reasons = {k: v.reason for k, v in outcomes.items() if isinstance(v, Failure)}
    assert reasons == {
        "die": "crash", "eat": "memory", "hang": "timeout", "hang with the GIL": "timeout",
        "raise": "crash", "vanish": "crash",
    }  # fmt: skip
    assert "two lines" in outcomes["raise"].detail
    failures = [v for v in outcomes.values() if isinstance(v, Failure)]
    assert "in test_isolate.py:" in outcomes["hang"].detail  # where it stood still
    assert all(f.digest or f is outcomes["vanish"] for f in failures)  # it said nothing
    assert len({f.digest for f in failures}) == len(failures)


def test_answers_that_do_not_travel_cost_their_item_only():
    items = ["a", "strange answer", "strange error", "b"]
    done = [d.outcome for d in run_each(work, items, workers=1, timeout_s=9, memory_gib=2)]
    assert [done[0], done[3]] == ["A", "B"]
    assert done[1].reason == done[2].reason == "crash" and "a b" in done[2].detail


def test_a_users_mistake_ends_the_run():
    with pytest.raises(UserError, match="mend it"):
        list(run_each(work, ["a", "mistake", "b"], workers=2, timeout_s=9, memory_gib=2))


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [c for c in children if "spawn_main" in " ".join(c.cmdline())]


@pytest.mark.slow
def test_workers_killed_from_outside_cost_nothing():
    """Again and again, also while they start: every item comes, in order, and none is given up."""
    items = [f"nap {i}" for i in range(40)]
    over = threading.Event()

    def storm():
        while not over.wait(0.9):
            for child in workers()[:1]:
                os.kill(child.pid, signal.SIGKILL)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        done = list(run_each(work, items, workers=2, timeout_s=90, memory_gib=2))
    finally:
        over.set()
        thread.join()
    assert [d.outcome for d in done] == [i.upper() for i in items]


def test_no_worker_outlives_the_run():
    results = run_each(work, ["nap", "hang", "hang"], workers=2, timeout_s=90, memory_gib=2)
    next(results)
    assert len(workers()) == 2
    results.close()
    assert not workers()


def test_a_worker_that_does_not_read_keeps_no_other_from_its_time(monkeypatch):
    """A task larger than a pipe to a process that hangs while it starts."""
    monkeypatch.setattr("data.offline.workers.START_S", 2.0)
    monkeypatch.setattr("data.offline.workers.STARTS", 2)
    started = time.monotonic()
    pool = Workers(len, count=1, timeout_s=60, prepare=partial(time.sleep, 600))
    try:
        with pytest.raises(UserError, match="2 worker processes in a row died before they began"):
            pool.submit("x" * 2**20).result(timeout=30)
    finally:
        pool.close()
    assert time.monotonic() - started < 25


def test_large_tasks_come_whole():
    texts = ["x" * 2**n for n in (10, 16, 20, 22)]
    done = run_each(len, texts, workers=2, timeout_s=60, memory_gib=1)
    assert [d.outcome for d in done] == [len(t) for t in texts]


def test_items_are_read_only_as_fast_as_needed():
    read = []

    def items():
        for i in range(100):
            read.append(i)
            yield f"{i}"

    results = run_each(work, items(), workers=1, timeout_s=10, memory_gib=2)
    next(results)
    assert len(read) <= 5
    results.close()
