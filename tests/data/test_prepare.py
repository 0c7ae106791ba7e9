"""The offline run through its command: what it writes, sets aside, continues and refuses."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Image, List

from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare as prepare_here
from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from data.sample import events_of
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from tests.helpers.videos import (
    ROOT,
    digest,
    every,
    number_of,
    run_command,
    write_audio,
    write_video,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Good and bad files, and the rows that name them."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(5):
        write_video(folder / f"good{i}.mp4", every(0.1, 30 + i))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video\n" * 99)
    write_audio(folder / "sound.mp4")
    cut = write_video(
        folder / "cut.mp4", every(0.1, 100), container_options={"movflags": "faststart"}
    )
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    nearly = write_video(
        folder / "nearly.mp4", every(0.1, 240), container_options={"movflags": "faststart"}
    )
    nearly.write_bytes(nearly.read_bytes()[: int(nearly.stat().st_size * 0.97)])
    names = [f"good{i}.mp4" for i in range(5)] + [
        "empty.mp4",
        "text.mp4",
        "sound.mp4",
        "cut.mp4",
        "nearly.mp4",
        "nowhere.mp4",
    ]
    rows = [
        {
            "video": n,
            "description": f"about {n}",
            "events": [[0.5, 1.5, "something"], [2.0, 99.0, "more"], [200, 201, "never"]],
        }
        for n in names
    ]
    rows.append({"video": "good0.mp4", "description": "again"})  # the id is the file's name
    rows.append({"video": "good1.mp4", "id": "late", "events": [[50, 60, "after the end"]]})
    lines = [json.dumps(row) for row in rows] + ["{broken"]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder


def prepare(videos, out, *extra, code=0):
    done = run_command(
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={videos}/rows.jsonl",
        f"out={out}",
        "frames.max=4",
        *extra,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def prepared(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(videos, out, "shard_rows=4", f"json={out}.json")
    return out


def test_good_rows_have_frames_at_their_true_times(prepared):
    dataset = Prepared.open(prepared).rows()
    assert dataset["id"] == [f"good{i}" for i in range(5)] + ["nearly"]
    for row in dataset:
        assert (
            len(row["frames"])
            == len(row["times_s"])
            == len(row["reasons"])
            == len(row["ranks"])
            <= 4
        )
        assert row["events"][-1]["end_s"] == pytest.approx(
            row["duration_s"]
        )  # clamped to the video
    assert 0.9 <= dataset[5]["decoded_share"] < 1 == dataset[0]["decoded_share"]
    shown = dataset.cast_column("frames", List(Image()))[1]
    numbers = [number_of(np.asarray(picture)) for picture in shown["frames"]]
    assert numbers == [round(time_s / 0.1) for time_s in shown["times_s"]]


def test_every_bad_row_is_in_quarantine_with_its_reason(prepared):
    rows = [json.loads(line) for line in (prepared / "quarantine.jsonl").read_text().splitlines()]
    assert {r["id"]: r["reason"] for r in rows} == {
        "empty": "unreadable",
        "text": "unreadable",
        "sound": "no video stream",
        "cut": "truncated",
        "nowhere": "missing file",
        "good0": "same id twice",
        "late": "no target left",
        "rows.jsonl:14": "bad row",
    }
    manifest = read_manifest(prepared)
    assert manifest["repairs"] == {"cut at the video's end": 6, "starts after the video's end": 6}
    assert manifest["rows"] == 6 and sum(manifest["quarantined"].values()) == 8
    summary = json.loads((prepared.parent / "out.json").read_text())
    assert summary["rows"] == 6 and summary["seconds"] > 0


def test_plain_datasets_opens_it(prepared):
    from datasets import load_dataset

    dataset = load_dataset("parquet", data_files=str(prepared / "*.parquet"), split="train")
    assert dataset[0]["frames"][0].size == (160, 96)
    assert pq.read_schema(prepared / "shard-00000.parquet").metadata[b"huggingface"]


def test_killed_run_continues_to_the_same_bytes(videos, prepared, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={videos}/rows.jsonl",
        f"out={out}",
        "frames.max=4",
        "shard_rows=4",
        "workers=1",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "shard-00000.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(UserError, match="not finished"):
        read_manifest(out)
    done = prepare(videos, out, "shard_rows=4")
    assert "done by an earlier run" in done.stdout
    assert digest(out) == digest(prepared)


def test_a_finished_run_is_not_redone_and_another_is_refused(videos, prepared):
    before = digest(prepared)
    done = prepare(videos, prepared, "shard_rows=4")
    assert (
        "14 source rows were done by an earlier run" in done.stdout and digest(prepared) == before
    )
    done = prepare(videos, prepared, "shard_rows=4", "frames.px=64", code=2)
    assert (
        "policy differs" in done.stderr
        and "overwrite=true" in done.stderr
        and digest(prepared) == before
    )


@pytest.mark.slow
def test_a_wrong_source_does_not_claim_the_folder(videos, tmp_path):
    out = tmp_path / "o"
    (tmp_path / "none.jsonl").write_text("\n\n")
    for source, words in (
        ("nowhere.jsonl", "no such file"),
        ("none.jsonl", "no rows"),
        (".", "is a folder"),
    ):
        done = run_command(
            "scripts/prepare.py", "source=jsonl", f"source.path={tmp_path}/{source}", f"out={out}"
        )
        assert done.returncode == 2 and words in done.stderr and not out.exists()


def test_hostile_texts_and_paths_stay_rows(tmp_path):
    """Line separators, lone surrogates, paths that are no file names: counted, never a crash."""
    rows = [
        {"video": "a\u2028b\x85c.mp4", "description": "x"},
        {"video": "a\ud800.mp4", "description": "x"},
        {"video": "/", "description": "x"},
        {"video": "..", "description": "x"},
        {"video": "n" * 5000 + ".mp4", "description": "x"},
        {"video": 3, "id": "i\udc00\u2029"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n\n" + "\n".join(map(json.dumps, rows)))
    out = tmp_path / "o"
    argv = (
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={tmp_path}/rows.jsonl",
        f"out={out}",
    )
    for _ in range(2):  # and the second time reads what the first wrote
        done = run_command(*argv)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        assert sum(read_manifest(out)["quarantined"].values()) == 6
    lines = (out / "quarantine.jsonl").read_text().split("\n")
    assert all(len(line) < 12_000 for line in lines) and "rows.jsonl:8" in lines[5]


@pytest.mark.slow
def test_overwrite_starts_over_even_where_nothing_changed(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"video": "later.mp4", "description": "x"}))
    argv = (
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={tmp_path}/rows.jsonl",
        f"out={tmp_path}/o",
    )
    assert run_command(*argv).returncode == 0
    write_video(tmp_path / "later.mp4", every(0.1, 12))
    assert "retry=quarantine" in run_command(*argv).stdout
    assert "1 videos prepared, 0 quarantined" in run_command(*argv, "overwrite=true").stdout


def test_a_summary_that_could_not_be_written_is_refused_first(videos, tmp_path):
    done = prepare(videos, tmp_path / "o", f"json={tmp_path}/no/x.json", code=2)
    assert "no such folder" in done.stderr and not (tmp_path / "o").exists()


@pytest.mark.slow
def test_overwrite_replaces(videos, tmp_path):
    prepare(videos, tmp_path / "o", "source.limit=2")
    assert Prepared.open(tmp_path / "o").rows()["id"] == ["good0", "good1"]
    prepare(videos, tmp_path / "o", "source.limit=1", "overwrite=true")
    assert Prepared.open(tmp_path / "o").rows()["id"] == ["good0"]


def test_a_full_disk_stops_with_one_line_and_resumes(videos, prepared, tmp_path):
    out = tmp_path / "o"
    argv = [
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={videos}/rows.jsonl",
        f"out={out}",
        "frames.max=4",
        "shard_rows=4",
    ]
    # no disk of ours can be filled here: the writer raises what it raises on a full one
    code = (
        "import errno, os, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, os.getcwd());"
        "import pyarrow.parquet as pq\n"
        "def full(self, *a, **k): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "pq.ParquetWriter.write_table = full\n"
        "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = run_command("-c", code, *argv)
    assert (
        done.returncode == 2
        and "No space left on device" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert not list(out.glob("*.parquet"))
    prepare(videos, out, "shard_rows=4")
    assert Prepared.open(out).rows()["id"] == Prepared.open(prepared).rows()["id"]


def test_a_foreign_folder_is_left_alone(videos, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    done = prepare(videos, tmp_path, "overwrite=true", code=2)
    assert "not empty" in done.stderr and [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_min_decoded_decides(videos, tmp_path):
    prepare(videos, tmp_path / "o", "min_decoded=0.1")
    assert "cut" in Prepared.open(tmp_path / "o").rows()["id"]


@pytest.mark.parametrize(
    "policy",
    ["shots", *(pytest.param(p, marks=pytest.mark.slow) for p in ("uniform", "fps", "smolvlm"))],
)
def test_other_policies_and_decord(videos, tmp_path, policy):
    prepare(
        videos, tmp_path / "o", f"frames.policy={policy}", "source.limit=3", "frames.decoder=decord"
    )
    dataset = Prepared.open(tmp_path / "o").rows()
    assert len(dataset) == 3 and json.loads(dataset[0]["policy"])["policy"] == policy


@pytest.mark.slow
def test_real_clips(real_clips, tmp_path):
    """The labelled clips all pass; the damaged one and its like do not."""
    lines = (real_clips / "clips.jsonl").read_text().splitlines()
    rows = [{**json.loads(line)} for line in lines]
    for row in rows:
        row["video"] = str(real_clips / row["video"])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    for name in (str(real_clips / "corrupted.mp4"), "empty.mp4", "text.mp4", "nowhere.mp4"):
        rows.append({"video": name, "description": "x"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    done = run_command(
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={tmp_path}/rows.jsonl",
        f"out={out}",
        "frames.max=16",
    )
    assert done.returncode == 0, done.stderr
    assert read_manifest(out)["rows"] == 21
    assert read_manifest(out)["quarantined"] == {"missing file": 1, "truncated": 1, "unreadable": 2}


def test_a_run_of_an_earlier_version_is_known_by_its_old_keys(tmp_path):
    how = ["source=microworld", "source.limit=2", "frames.policy=l1", "frames.max=2"]
    how += [f"source.path={tmp_path}/videos", f"out={tmp_path}/out"]
    assert run_command("scripts/prepare.py", *how).returncode == 0
    manifest = tmp_path / "out/manifest.json"
    told = manifest.read_text()
    manifest.write_text(told.replace('"candidate_fps"', '"rate"'))
    done = run_command("scripts/prepare.py", *how)
    assert "2 source rows were done by an earlier run" in done.stdout, done.stderr


def test_an_event_at_the_very_end_still_lasts(tmp_path):
    """Labels round times: what begins as the video ends is about its last frame, and can be trained on."""
    video = write_video(tmp_path / "a.mp4", times_s=every(0.1, 61))
    end_s = write_and_prepare(tmp_path, video, [[0, 3, "one"]])["duration_s"]
    row = write_and_prepare(tmp_path, video, [[0, 3, "one"], [end_s, end_s + 2, "two"]])
    one, two = events_of(row)
    assert (one.start_s, one.end_s) == (0, 3)
    assert 0 < two.end_s - two.start_s <= 0.06 and two.end_s == pytest.approx(end_s)


def write_and_prepare(folder, video, events):
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps({"id": "a", "video": video.name, "events": events}))
    keys = {"name": "jsonl", "path": str(rows)}
    out = folder / f"out-{len(events)}"
    prepare_here(
        PrepareConfig(source=SourceKeys(**keys), frames=FrameKeys(max=2, px=48), out=str(out))
    )
    return Prepared.open(out).rows()[0]
