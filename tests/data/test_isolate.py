"""Whatever one item does to its process costs that item only."""

import ctypes
import os
import time

from data.isolate import Failure, run_each


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
    return item.upper()


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
