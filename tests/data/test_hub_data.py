"""Datasets on the Hub: the real clients, over HTTP, to a stand-in on this machine."""

import json
import random

import pyarrow.parquet as pq
import pytest

from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from tests.helpers import finevideo as made
from tests.helpers.hub import COMMIT, Seen, environment, serve
from tests.helpers.videos import every, run_command, write_video

VIDEOS = "hexuan21/VideoFeedback-videos-mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = write_video(tmp_path_factory.mktemp("clip") / "a.mp4", every(0.1, 30))
    return path.read_bytes()


def padded(clip, seed):
    """As large as a video is beside a row's text: with a part that players pass over."""
    return clip + b"\0\0\xc3\x50free" + random.Random(seed).randbytes(49_992)


@pytest.fixture(scope="module")
def hub(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("hub")
    for shard in range(3):
        rows = [made.row(10 * shard + i, 3) for i in range(8)]
        for row in rows:
            row["content_fine_category"] = f"kind {shard}"
        name = f"fine/data/train-{shard:05d}-of-00003.parquet"
        made.write_parquet(root / name, rows, [padded(clip, i) for i in range(8)])
    from tests.helpers.feedback import feedback, write_feedback

    write_feedback(root / "feedback", [feedback(i) for i in range(3)], subset="real")
    for i in range(2):
        (root / "mp4/p").mkdir(parents=True, exist_ok=True)
        (root / f"mp4/p/p00000{i}.mp4").write_bytes(clip)
    datasets = {
        "HuggingFaceFV/finevideo": root / "fine",
        "TIGER-Lab/VideoFeedback": root / "feedback",
        VIDEOS: root / "mp4",
        "acme/gated": root / "fine",
    }
    refused = {"acme/private": (401, "RepoNotFound"), "acme/down": (500, "")}
    seen = Seen()
    gated = {"acme/gated": (403, "GatedRepo")}
    with serve({}, refused, datasets, gated, seen) as url:
        yield url, seen


def prepare(hub, home, out, *arguments, **extra):
    return run_command(
        "scripts/prepare.py", f"out={out}", "frames.max=4", "workers=1", *arguments,
        **environment(hub[0], home, **extra),
    )  # fmt: skip


def test_only_wanted_videos_are_transferred(hub, tmp_path):
    hub[1].sent_bytes.clear()
    argv = ("source=finevideo", "source.category=kind 1", "shard_rows=3")
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv)
    assert done.returncode == 0, done.stderr
    assert "8 videos prepared, 0 quarantined" in done.stdout
    assert "16 of another category" in done.stdout
    sent = {name.split("-")[1]: size for name, size in hub[1].sent_bytes.items() if "train" in name}
    assert sent["00001"] > 8 * 50_000  # all of its videos
    assert sent["00000"] < 70_000 > sent["00002"]  # no video of the others
    manifest = read_manifest(tmp_path / "o")
    assert manifest["sources"][0]["version"] == COMMIT
    row = Prepared.open(tmp_path / "o").rows()[0]
    assert row["id"] == "yt000000010" and "by YardExample" in row["credit"]
    # finished: the same command asks the Hub for nothing that it does not have
    hub[1].sent_bytes.clear()
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv)
    assert "8 source rows were done by an earlier run" in done.stdout
    assert not hub[1].sent_bytes


@pytest.mark.slow
def test_a_limit_stops_reading(hub, tmp_path):
    hub[1].sent_bytes.clear()
    hub[1].failing = 2  # the client tries again by itself
    done = prepare(hub, tmp_path / "home", tmp_path / "o", "source=finevideo", "source.limit=3")
    assert "3 videos prepared" in done.stdout, done.stderr
    assert not any("00001" in name for name in hub[1].sent_bytes)


def test_videofeedback_fetches_its_videos(hub, tmp_path):
    done = prepare(hub, tmp_path / "home", tmp_path / "o", "source=videofeedback")
    assert "2 videos prepared, 1 quarantined" in done.stdout, done.stderr
    lost = json.loads((tmp_path / "o/quarantine.jsonl").read_text())
    assert lost["reason"] == "missing file" and lost["id"] == "p000002"
    assert lost["video"] == f"hf://datasets/{VIDEOS}/p/p000002.mp4"


REFUSED = {
    "acme/gated": "accept its terms at https://huggingface.co/datasets/acme/gated, then log in",
    "acme/private": "no such dataset on the Hub, or no right to read it",
    "acme/nothing": "no such dataset on the Hub, or no right to read it",
    "acme/down": "the Hub answers 500; try the same command later",
}
ASK = """
import sys
from data.config import UserError
from data.sources.finevideo import version
from data.sources.config import SourceKeys
for name in sys.argv[1:]:
    try:
        version(SourceKeys(name="finevideo", path=f"hf://datasets/{name}"))
    except UserError as error:
        print(error)
"""


def test_refusals_are_one_line(hub, tmp_path):
    argv = ("source=finevideo", "source.path=hf://datasets/acme/gated")
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv)
    assert done.returncode == 2 and REFUSED["acme/gated"] in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "o").exists()
    for token in ({}, {"HF_TOKEN": "hf_secret"}):
        where = environment(hub[0], tmp_path / "home", **token)
        lines = run_command("-c", ASK, *REFUSED, **where).stdout.splitlines()
        assert len(lines) == len(REFUSED)
        for line, (name, words) in zip(lines, REFUSED.items(), strict=True):
            assert f"source.path={name}" in line and words in line and "hf_secret" not in line
            assert ("no token here yet" in line) == (not token and name != "acme/down")


@pytest.mark.slow
def test_no_network_and_offline_are_one_line(hub, tmp_path):
    for extra in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = run_command(
            "scripts/prepare.py", "source=finevideo", f"out={tmp_path}/o",
            **{**environment(hub[0], tmp_path / "home"), **extra},
        )  # fmt: skip
        assert done.returncode == 2 and "cannot be fetched (no network" in done.stderr
        assert done.stderr.count("\n") == 1 and not (tmp_path / "o").exists()
    argv = ("source=finevideo", "source.revision=v9")
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv)
    assert done.returncode == 2 and "no such revision" in done.stderr


@pytest.mark.slow
def test_a_hub_that_goes_away_stops_the_run_which_continues(hub, tmp_path):
    """Gone while videos are read: one line, not a quarantine full of videos; then it goes on."""
    argv = ("source=finevideo", "source.limit=12", "shard_rows=2")
    hub[1].failing = 10_000
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv, HF_HUB_DOWNLOAD_TIMEOUT="1")
    hub[1].failing = 0
    assert done.returncode == 2 and "the Hub answers 503" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    done = prepare(hub, tmp_path / "home", tmp_path / "o", *argv)
    assert "12 videos prepared, 0 quarantined" in done.stdout, done.stderr
    assert pq.read_table(tmp_path / "o" / "shard-00005.parquet").num_rows == 2
