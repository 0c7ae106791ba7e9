"""A Ray cluster of two nodes on this machine: same bytes, also when one of them dies half-way."""

import hashlib
import json
import subprocess
import sys
import time

import pytest

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.sources.config import SourceKeys
from data.storage import open_folder
from tests.helpers.buckets import bucket
from tests.helpers.videos import ROOT, digest, every, run_command, write_video

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for i in range(4):
        write_video(folder / f"{i}.mp4", every(0.1, 40 + i))
    (folder / "bad.mp4").write_text("no video")
    rows = [
        {"id": f"row {i}", "video": f"{i % 4}.mp4" if i % 10 else "bad.mp4", "description": "x"}
        for i in range(80)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def expected(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "o"
    source = SourceKeys(name="jsonl", path=str(rows / "rows.jsonl"))
    prepare(PrepareConfig(source=source, out=str(out), workers=2, shard_rows=4, memory_gib=1))
    return digest(out)


def start(rows, out, address):
    argv = [
        sys.executable, "scripts/prepare.py", "source=jsonl", f"source.path={rows}/rows.jsonl", f"out={out}",
        "shard_rows=4", "memory_gib=1", "engine=ray", f"address={address}",
    ]  # fmt: skip
    return subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(params=["a folder", "a bucket"])
def out(request, tmp_path, monkeypatch):
    if request.param == "a folder":
        yield str(tmp_path / "o")
        return
    with bucket(monkeypatch) as url:
        yield f"{url}/o"


def test_a_node_that_dies_costs_nothing(rows, expected, out, monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    room = {"num_cpus": 1, "memory": 3 * 2**30, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args={**room, "include_dashboard": False})
    there = open_folder(out)
    try:
        other = cluster.add_node(**room)
        cluster.wait_for_nodes()
        process = start(rows, out, cluster.address)
        deadline = time.monotonic() + 120
        while (
            sum(n.endswith(".parquet") for n in there.names()) < 6 and time.monotonic() < deadline
        ):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        cluster.remove_node(other, allow_graceful=False)
        printed, _ = process.communicate(timeout=240)
        assert process.returncode == 0, printed[-3000:]
    finally:
        cluster.shutdown()
    found = {}
    for name in there.names() - {".lock"}:
        with there.open(name) as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    assert len(expected) == 3 + 2 * 20 and found == expected
    assert "[state-dump]" not in printed, printed  # it says in a line that a node died


def test_no_cluster_there_is_one_line(rows, tmp_path):
    argv = ("source=jsonl", f"source.path={rows}/rows.jsonl", f"out={tmp_path}/o", "engine=ray")
    done = run_command("scripts/prepare.py", *argv, "address=127.0.0.1:9")
    assert done.returncode == 2 and "no Ray cluster there" in done.stderr, done.stderr[-800:]
    assert "Traceback" not in done.stderr


def test_a_users_mistake_on_a_node_is_one_line(rows, tmp_path):
    argv = ("source=jsonl", f"source.path={rows}/rows.jsonl", f"out={tmp_path}/o", "engine=ray")
    done = run_command("scripts/prepare.py", *argv, "on_bad=stop", "memory_gib=1", RAY_ADDRESS="")
    assert done.returncode == 2 and "row 0: unreadable" in done.stderr, done.stderr[-800:]
    assert "Traceback" not in done.stderr and not list((tmp_path / "o").rglob("*.video"))
