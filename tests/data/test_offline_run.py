"""The offline run as something to leave alone: retries, locks, refusals, memory, other places."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from joblib import cpu_count

from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.isolate import fitting_workers, memory_bytes
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from data.sources.config import SourceKeys
from data.storage import Folder, open_folder
from tests.helpers.videos import ROOT, digest, every, run_command, write_video


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Seven rows; 2 and 5 name files that are not there yet, 6 repeats an id."""
    folder = tmp_path_factory.mktemp("rows")
    for i in (0, 1, 3, 4):
        write_video(folder / f"{i}.mp4", every(0.1, 12 + i))
    lines = [{"video": f"{i}.mp4", "description": f"video {i}"} for i in range(6)]
    lines.append({"video": "0.mp4", "id": "1", "description": "again"})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def config(folder, out, **keys):
    source = SourceKeys(name="jsonl", path=str(folder / "rows.jsonl"))
    return PrepareConfig(source=source, out=str(out), **{"workers": 1, "shard_rows": 2, **keys})


def test_retry_tries_only_what_was_set_aside(rows, tmp_path):
    folder = shutil.copytree(rows, tmp_path / "rows")
    out = tmp_path / "o"
    first = prepare(config(folder, out))
    assert first["quarantined"] == {"missing file": 2, "same id twice": 1}
    untouched = (out / "shard-00000.parquet").stat().st_mtime_ns
    write_video(folder / "2.mp4", every(0.1, 14))
    write_video(folder / "5.mp4", every(0.1, 17))
    done = run_command("scripts/prepare.py", f"out={out}", "retry=quarantine", "workers=1")
    assert done.returncode == 0, done.stderr  # no source needed: the run in out says it
    assert "6 videos prepared, 1 quarantined" in done.stdout
    assert (out / "shard-00000.parquet").stat().st_mtime_ns == untouched  # it had lost nothing
    # as if nothing had ever been missing
    prepare(config(folder, tmp_path / "fresh"))
    assert digest(out) == digest(tmp_path / "fresh")
    assert Prepared.open(out).rows()["id"] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.slow
def test_without_a_source_a_run_goes_on_as_it_was_begun(rows, tmp_path):
    out = tmp_path / "o"
    prepare(config(rows, out, min_s=0.5))
    assert "7 source rows were done" in run_command("scripts/prepare.py", f"out={out}").stdout
    (out / "shard-00001.parquet").unlink()  # whoever did that, it is made again
    done = run_command("scripts/prepare.py", f"out={out}")
    assert "5 source rows were done by an earlier run" in done.stdout, done.stderr
    prepare(config(rows, tmp_path / "fresh", min_s=0.5))
    assert digest(out) == digest(tmp_path / "fresh")
    for argument, words in (
        (f"out={tmp_path}/nowhere", "source: missing; write source="),
        (f"out={out}", "frames: without a source"),
    ):
        done = run_command("scripts/prepare.py", argument, "frames.max=3")
        assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_retry_killed_at_the_worst_moment_loses_nothing(rows, tmp_path, monkeypatch):
    """After the quarantine lines of a shard that is done again, before its rows."""
    folder, out = shutil.copytree(rows, tmp_path / "rows"), tmp_path / "o"
    prepare(config(folder, out))
    write_video(folder / "2.mp4", every(0.1, 14))
    put = Folder.commit

    def killed(self, unfinished, name):
        if name == "shard-00001.parquet":
            raise KeyboardInterrupt
        put(self, unfinished, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(config(folder, out, retry="quarantine"))
    prepare(config(folder, out))
    prepare(config(folder, tmp_path / "fresh"))
    assert digest(out) == digest(tmp_path / "fresh")


@pytest.mark.slow
def test_an_overwriting_run_that_was_stopped_goes_on(rows, tmp_path):
    folder, out = shutil.copytree(rows, tmp_path / "rows"), tmp_path / "o"
    prepare(config(folder, out, min_s=0.1))
    again = {"overwrite": True, "on_bad": "stop"}
    with pytest.raises(UserError, match="2: missing file"):
        prepare(config(folder, out, **again))
    kept = (out / "shard-00000.parquet").stat().st_mtime_ns
    with pytest.raises(UserError, match="2: missing file"):
        prepare(config(folder, out, **again))
    assert (out / "shard-00000.parquet").stat().st_mtime_ns == kept
    assert prepare(config(folder, out, overwrite=True))["rows_from_before"] == 2
    assert prepare(config(folder, out, overwrite=True))["rows_from_before"] == 0


def test_on_bad_stop_names_the_video_and_goes_on_later(rows, tmp_path):
    folder = shutil.copytree(rows, tmp_path / "rows")
    out = tmp_path / "o"
    with pytest.raises(UserError, match=r"2: missing file: .*2\.mp4: no such file .on_bad="):
        prepare(config(folder, out, on_bad="stop"))
    assert sorted(p.name for p in out.glob("*.parquet")) == ["shard-00000.parquet"]
    for name in ("2.mp4", "5.mp4"):
        write_video(folder / name, every(0.1, 12))
    with pytest.raises(UserError, match="1: same id twice"):
        prepare(config(folder, out, on_bad="stop"))
    assert prepare(config(folder, out))["rows"] == 6


def test_too_short_is_set_aside(rows, tmp_path):
    summary = prepare(config(rows, tmp_path / "o", min_s=1.4))
    assert summary["quarantined"]["too short"] == 2 and summary["rows"] == 2


def test_a_second_run_on_one_folder_refuses(rows, tmp_path):
    out = open_folder(tmp_path / "o")
    out.make()
    with out.locked():
        argv = ("source=jsonl", f"source.path={rows}/rows.jsonl", f"out={tmp_path}/o")
        done = run_command("scripts/prepare.py", *argv)
        assert done.returncode == 2 and "another run is writing there" in done.stderr
        assert not list((tmp_path / "o").glob("manifest*"))
    assert prepare(config(rows, tmp_path / "o"))["rows"] == 4


@pytest.mark.slow
def test_a_killed_run_leaves_no_lock_and_no_rubbish(rows, tmp_path):
    argv = [
        sys.executable,
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={rows}/rows.jsonl",
        f"out={tmp_path}/o",
        "shard_rows=2",
        "workers=1",
    ]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "o/unfinished.tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    prepare(config(rows, tmp_path / "o"))
    prepare(config(rows, tmp_path / "fresh"))
    assert digest(tmp_path / "o") == digest(tmp_path / "fresh")


def test_other_places_than_a_folder(rows, tmp_path):
    """fsspec's memory file system stands for an object store: put whole, listed, read back."""
    out = "memory://bucket/set"
    with pytest.raises(UserError, match="2: missing file"):
        prepare(config(rows, out, on_bad="stop"))
    summary = prepare(config(rows, out))
    assert summary["rows"] == 4 and summary["rows_from_before"] == 2
    prepare(config(rows, tmp_path / "o"))
    there = open_folder(out)
    assert there.names() == set(digest(tmp_path / "o"))
    for name in there.names():
        with there.open(name) as file:
            assert file.read() == (tmp_path / "o" / name).read_bytes()
    assert read_manifest(out)["rows"] == 4
    assert Prepared.open(out).shards[0] == "memory:///bucket/set/shard-00000.parquet"
    with pytest.raises(UserError, match="s4://x"):
        open_folder("s4://x/y")


def test_scratch_of_other_places_is_ones_own(tmp_path, monkeypatch):
    """Its name can be guessed: somebody else may have made it, or put a link there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = open_folder("memory://bucket/other").scratch()
    assert scratch.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(scratch.parent)
    (tmp_path / "theirs").mkdir()
    scratch.parent.symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="belongs to somebody else; set TMPDIR"):
        open_folder("memory://bucket/other").scratch()


def test_workers_fit_into_memory():
    assert fitting_workers(memory_bytes() / 2**30) == 1
    assert fitting_workers(0.01) == cpu_count()


@pytest.mark.slow
def test_a_full_disk(rows, tmp_path):
    """A real one: a file system of 400 kB, where this machine lets us mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        argv = ("source=jsonl", f"source.path={rows}/rows.jsonl", f"out={place}/o", "shard_rows=1")
        filler = place / "filler"
        filler.write_bytes(bytes(390_000))
        done = run_command("scripts/prepare.py", *argv)
        assert done.returncode == 2 and "No space left on device" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert not list((place / "o").rglob("*.parquet"))
        filler.unlink()
        done = run_command("scripts/prepare.py", *argv)
        assert "4 videos prepared" in done.stdout, done.stderr
    finally:
        subprocess.run(["umount", place], check=True)
