"""A prepared dataset to the Hub and back: the real client, over HTTP, to a stand-in."""

import json
import shutil

import pytest
import yaml

from data.prepared.card import dataset_card
from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from tests.helpers.hub import COMMIT, Seen, environment, serve
from tests.helpers.videos import run_command

READ = """
import sys
from data.prepared.dataset import Prepared
from datasets import load_dataset
print(Prepared.open(sys.argv[1]).rows()["id"])
"""


@pytest.fixture
def hub(tmp_path):
    (tmp_path / "repo").mkdir()
    seen = Seen()
    refused = {"acme/closed": (403, "")}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/train.csv").write_text("precious")
    (tmp_path / "open").mkdir()
    there = {
        "you/clips": tmp_path / "repo",
        "you/theirs": tmp_path / "theirs",
        "open/clips": tmp_path / "open",
    }
    with serve({}, refused, there, seen=seen) as url:
        yield url, tmp_path / "repo", seen


def push(hub, world, home, repo="you/clips", **extra):
    return run_command(
        "scripts/push_dataset.py", f"data.path={world}", f"hub.repo={repo}",
        **environment(hub[0], home, **{"HF_TOKEN": "hf_secret", **extra}),
    )  # fmt: skip


def test_there_and_back(hub, world, tmp_path):
    done = push(hub, world, tmp_path / "home")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "data.path=hf://datasets/you/clips" in done.stdout and "hf_secret" not in done.stdout
    url, repo, seen = hub
    assert sorted(p.name for p in repo.rglob("*") if p.is_file()) == [
        "README.md", "manifest.json", "shard-00000.parquet",
    ]  # fmt: skip
    where = environment(url, tmp_path / "home")
    back = run_command("-c", READ, "hf://datasets/you/clips", **where)
    assert back.stdout.strip() == str(Prepared.open(world).rows()["id"]), back.stderr[-2000:]
    told = json.loads((repo / "manifest.json").read_text())
    assert told["sources"][0]["path"] == "videos"  # no folder of this machine
    # what is there already is not sent again; what is no longer part of it goes
    shutil.copy(repo / "data/shard-00000.parquet", repo / "data/shard-00007.parquet")
    seen.requests.clear()
    assert push(hub, world, tmp_path / "home").returncode == 0
    assert not any("batch" in r for r in seen.requests)
    assert not (repo / "data/shard-00007.parquet").exists()


@pytest.mark.slow
def test_training_streams_it_from_the_hub(hub, world, tmp_path):
    assert push(hub, world, tmp_path / "home").returncode == 0
    done = run_command(
        "train/sft.py", "recipe=lora", "model.name=tiny", "data.path=hf://datasets/you/clips", "data.stream=true",
        "train.steps=2", f"train.output={tmp_path}/run", **environment(hub[0], tmp_path / "home"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert (
        record["dataset"]["path"] == f"hf://datasets/you/clips@{COMMIT}"
    )  # what was read, and no other
    missing = run_command(
        "train/sft.py", "recipe=lora", "data.path=hf://datasets/you/nothing",
        **environment(hub[0], tmp_path / "home"),
    )  # fmt: skip
    assert missing.returncode == 2 and "you/nothing" in missing.stderr
    assert missing.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_the_hub_or_the_user_forgot_is_one_line(hub, world, tmp_path):
    for repo, extra, words in (
        ("acme/closed", {}, "hub.repo=acme/closed: no right to write there (403)"),
        ("clips", {}, "write owner/name"),
        ("open/clips", {}, "is public; hub.private=false says that you mean it"),
        ("you/theirs", {}, "holds something that was not pushed from here"),
        ("you/clips", {"HF_TOKEN": ""}, "no token: `hf auth login`"),
    ):
        done = push(hub, world, tmp_path / "home", repo, **extra)
        assert done.returncode == 2 and words in done.stderr, done.stderr[-800:]
        assert done.stderr.count("\n") == 1
    done = push(hub, tmp_path / "none", tmp_path / "home")
    assert done.returncode == 2 and "no prepared dataset there" in done.stderr


def test_the_card_is_what_the_hub_reads(world):
    manifest = read_manifest(world)
    text = dataset_card({**manifest, "by_source": {"finevideo": 24}, "rows": 5000}, "you/clips")
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["size_categories"] == ["1K<n<10K"]
    assert head["configs"][0]["data_files"][0]["path"] == "data/shard-*.parquet"
    assert "must include those terms" in text and "| finevideo | 24 |" in text
    mixed = dataset_card({**manifest, "by_source": {"finevideo": 1, "jsonl": 2}}, "you/clips")
    assert "license: other" in mixed
