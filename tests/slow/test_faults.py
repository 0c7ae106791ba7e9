"""Everything that goes wrong in a long run, at once: nothing is lost and nothing is different."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from data.offline.isolate import KILLS
from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from tests.helpers import faults
from tests.helpers.videos import ROOT, digest

pytestmark = pytest.mark.slow


def start(folder, out):
    argv = [
        sys.executable, "scripts/prepare.py", "source=jsonl", f"source.path={folder}/rows.jsonl", f"out={out}",
        "frames.max=4", "shard_rows=16", "workers=2", "timeout_s=3",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(folder / "stand-in")}
    with (folder / "errors.txt").open("a") as errors:
        return subprocess.Popen(
            argv, cwd=ROOT, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip


def workers_of(process) -> list[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [c for c in children if "spawn_main" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def kill_one(workers: list[psutil.Process], draw: random.Random) -> bool:
    try:
        draw.choice(workers).kill()
    except (psutil.Error, IndexError):
        return False
    return True


def shards_of(out: Path) -> int:
    return len(list(out.glob("shard-*.parquet")))


def test_a_run_in_which_everything_goes_wrong(tmp_path):
    reasons = faults.build(tmp_path / "clips")
    quiet = tmp_path / "quiet"
    process = start(tmp_path / "clips", quiet)
    assert process.wait(timeout=500) == 0, (tmp_path / "clips/errors.txt").read_text()[-2000:]

    draw, out = random.Random(2), tmp_path / "stormy"
    killed_workers = killed_runs = 0
    while True:
        process = start(tmp_path / "clips", out)
        # the run itself is killed three times, each time a few shards further on
        until = shards_of(out) + 3 if killed_runs < 3 else 10**6
        next_worker = time.monotonic() + draw.uniform(1, 4)
        # a clip that hangs is at work for longer than the time between two of these kills, so that
        # all of a run's may meet it: one fewer than those after which it would be given up
        left = KILLS - 1
        while process.poll() is None and shards_of(out) < until:
            time.sleep(0.05)
            if left and time.monotonic() > next_worker:
                killed = kill_one(workers_of(process), draw)
                killed_workers, left = killed_workers + killed, left - killed
                next_worker = time.monotonic() + draw.uniform(1, 4)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed_runs += 1
        if process.wait() == 0:
            break
        wrong = (tmp_path / "clips/errors.txt").read_text()
        assert process.returncode == -signal.SIGKILL, wrong[-2000:]
    assert killed_runs == 3 and killed_workers >= 3

    rows = [json.loads(line) for line in (tmp_path / "clips/rows.jsonl").read_text().splitlines()]
    good = [r["id"] for r in rows if r["id"] not in reasons]
    assert len(good) == faults.PLAIN + faults.AWKWARD
    for folder in (quiet, out):
        assert Prepared.open(folder).rows()["id"] == good  # each once, in order
        lines = (folder / "quarantine.jsonl").read_text().split("\n")
        lost = [json.loads(line) for line in lines if line]
        assert {r["id"]: r["reason"] for r in lost} == reasons and len(lost) == faults.BAD
        assert all(r["detail"] and r["digest"] for r in lost)
        assert read_manifest(folder)["quarantined"] == Counter(reasons.values())
    hung = {r["digest"] for r in lost if r["reason"] == "timeout"}
    assert len(hung) == 1  # the same place in the code
    assert digest(out) == digest(quiet)
