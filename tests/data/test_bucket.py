"""`out=s3://…` with the real client, against a bucket on this machine."""

import json
import os
import subprocess
import sys

import boto3
import pytest

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from data.storage import open_folder
from tests.helpers.buckets import bucket
from tests.helpers.videos import ROOT, digest, every, run_command, write_video


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for i in range(2):
        write_video(folder / f"{i}.mp4", every(0.1, 20 + i))
    rows = [{"id": f"row {i}", "video": f"{i}.mp4", "description": "x"} for i in range(2)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "rows.jsonl"


def config(rows, out):
    source = SourceKeys(name="jsonl", path=str(rows))
    return PrepareConfig(source=source, out=str(out), frames=FrameKeys(max=3, px=64), workers=1)


@pytest.mark.parametrize("busy", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_a_bucket_holds_what_a_folder_holds(rows, tmp_path, monkeypatch, busy):
    """Also where it answers every third request that it is busy."""
    prepare(config(rows, tmp_path / "o"))
    with bucket(monkeypatch, busy) as url:
        assert prepare(config(rows, f"{url}/a/o"))["rows"] == 2
        assert prepare(config(rows, f"{url}/a/o"))["rows_from_before"] == 2
        there = open_folder(f"{url}/a/o")
        expected = digest(tmp_path / "o")
        assert there.names() == expected.keys()
        for name in expected:
            with there.open(name) as file:
                assert file.read() == (tmp_path / "o" / name).read_bytes(), name
        read = f"from data.prepared.dataset import Prepared; print(Prepared.open({there.url!r}).rows()['id'][:])"
        done = subprocess.run(
            [sys.executable, "-c", read],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")},
        )
        assert done.stdout.strip() == "['row 0', 'row 1']", done.stderr[-2000:]


def test_what_another_process_writes_is_seen(monkeypatch):
    with bucket(monkeypatch) as url:
        there = open_folder(f"{url}/x")
        there.write("a.txt", "a")
        assert there.names() == {"a.txt"} and there.fs.ls(there.root)  # now it remembers this
        write = f"from data.storage import open_folder\nf = open_folder({there.url!r})\nf.write('b.txt', 'b'); f.write('a.txt', 'longer')"
        subprocess.run([sys.executable, "-c", write], check=True, cwd=ROOT)
        assert there.has("b.txt") and there.text("b.txt") == "b" and there.text("a.txt") == "longer"


def test_a_bucket_is_never_made(rows, monkeypatch):
    with bucket(monkeypatch) as url:
        done = run_command(
            "scripts/prepare.py", "source=jsonl", f"source.path={rows}", f"out={url}t/o"
        )
        assert done.returncode == 2 and done.stderr.strip().count("\n") == 0, done.stderr
        assert "s3://buckett/o: no such bucket or folder" in done.stderr
        names = [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]
        assert names == ["bucket"]


@pytest.mark.slow
def test_a_bucket_that_is_busy_for_ever_is_one_line(rows, monkeypatch):
    with bucket(monkeypatch, busy=1.0) as url:
        done = run_command(
            "scripts/prepare.py", "source=jsonl", f"source.path={rows}", f"out={url}/o"
        )
    assert done.returncode == 2 and "s3://bucket/o:" in done.stderr, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
