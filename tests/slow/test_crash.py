"""Killed at a write, fsync, rename or removal, whichever it is: the same command ends with the bytes of a quiet run.

By default at every third of the kinds of write to each file (a checkpoint counts as one), where a kill at an fsync is
one after the write before it, and one within a file that is still to get its name is one before the rename; CRASH=kinds:
at each kind; CRASH=all: at every single write (half an hour).
"""

import json
import os
import re
import shutil

import pytest
from safetensors.torch import load_file

from tests.helpers.commands import Commands, built_shim
from tests.helpers.runs import contents, rows, train
from train.model import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    place = tmp_path_factory.mktemp("server")
    server = Commands(place, built_shim(place))
    yield server
    server.close()


def chosen(writes):
    """Numbers of the writes to die at, from 1."""
    asked = os.environ.get("CRASH")
    if asked == "all":
        return list(range(1, len(writes) + 1))
    kinds = {}
    for number, (what, path) in enumerate(writes, 1):
        if what == "fsync":
            continue
        # one file of a checkpoint is as good as another, and temporary names are those of what they become
        name = re.sub(
            r"(/checkpoint-\d+)/.*|unfinished\.tmp/(?!videos)|\.tmp\w*$|\.\d+-[0-9a-f]{8}$",
            r"\1",
            path,
        )
        name = re.sub(r"\d+", "", name)
        kinds.setdefault((what, name), []).append(number)
    renamed = {name for what, name in kinds if what == "rename"}
    kinds = {
        key: found for key, found in kinds.items() if key[0] != "write" or key[1] not in renamed
    }
    middles = [found[len(found) // 2] for found in kinds.values() if len(found) > 20]
    every = sorted({found[-1] for found in kinds.values()} | set(middles))
    return every if asked == "kinds" else every[::3]


def test_prepare(commands, tmp_path):
    argv = [
        "source=microworld",
        "source.limit=3",
        f"source.path={tmp_path}/videos",
        "frames.max=2",
        "frames.px=48",
        "workers=1",
        "shard_rows=2",
    ]
    below = tmp_path / "quiet"
    out = below / "data"
    assert commands.run("prepare", [*argv, f"out={out}"], kill_at=0, below=str(below))["code"] == 0
    quiet = {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")}
    assert {"manifest.json", "shard-00000.parquet", "shard-00001.parquet"} <= set(quiet)
    writes = commands.writes
    for number in chosen(writes):
        below = tmp_path / str(number)
        out = below / "data"
        told = commands.run("prepare", [*argv, f"out={out}"], kill_at=number, below=str(below))
        assert told.get("killed"), writes[number - 1]
        assert commands.run("prepare", [*argv, f"out={out}"])["code"] == 0, writes[number - 1]
        left = {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")}
        assert left == quiet, writes[number - 1]
        shutil.rmtree(below)


def test_describe(commands, world, tmp_path):
    run = tmp_path / "run"
    base = tiny.build(tmp_path / "base")
    train(world, run, "train.steps=1", "data.eval_share=0", base=str(base))
    clips = sorted((world.parent / "videos").glob("*.mp4"))[:3]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    argv = [
        *clips,
        tmp_path / "bad.mp4",
        f"adapter={run}",
        "max_new_tokens=8",
        "batch=2",
        "workers=1",
        "format=json,srt,html",
    ]

    def left(out):
        return {name: data for name, data in contents(out).items() if not name.startswith("work")}

    below = tmp_path / "quiet"
    out = below / "out"
    assert commands.run("describe", [*argv, f"out={out}"], kill_at=0, below=str(below))["code"] == 0
    quiet = left(out)
    assert {"descriptions.jsonl", "index.html"} <= set(quiet)
    writes = commands.writes
    for number in chosen(writes):
        if "prepared-" in writes[number - 1][1]:  # as in test_prepare
            continue
        below = tmp_path / str(number)
        out = below / "out"
        told = commands.run("describe", [*argv, f"out={out}"], kill_at=number, below=str(below))
        assert told.get("killed"), writes[number - 1]
        assert commands.run("describe", [*argv, f"out={out}"])["code"] == 0, writes[number - 1]
        assert left(out) == quiet, writes[number - 1]
        shutil.rmtree(below)


def test_sft(commands, world, tmp_path):
    base = tiny.build(tmp_path / "base")
    argv = [
        "train.method=lora",
        f"model.name={base}",
        f"data.path={world}",
        "train.steps=2",
        "train.save_every=1",
        "train.keep_checkpoints=1",
        "data.eval_share=0.1",
        "data.workers=0",
        "train.log_every=1",
        "train.accumulate=1",
        "lora.r=2",
    ]
    below = tmp_path / "quiet"
    out = below / "run"
    assert (
        commands.run("sft", [*argv, f"train.output={out}"], kill_at=0, below=str(below))["code"]
        == 0
    )
    weights, was = (
        load_file(out / "adapter_model.safetensors"),
        json.loads((out / "run.json").read_text()),
    )
    losses, config = rows(out), (out / "config.yaml").read_text()
    writes = commands.writes
    for number in chosen(writes):
        at = writes[number - 1]
        below = tmp_path / str(number)
        out = below / "run"
        again = [*argv, f"train.output={out}"]
        assert commands.run("sft", again, kill_at=number, below=str(below)).get("killed"), at
        if not (out / "run.json").exists():  # else nothing is left to do
            told = commands.run("sft", again)
            if told["code"] == 2:
                assert "continue it with train.resume=true" in told["said"], (at, told)
                told = commands.run("sft", [*again, "train.resume=true"])
            assert told["code"] == 0, (at, told)
        left = load_file(out / "adapter_model.safetensors")
        assert left.keys() == weights.keys() and all(left[k].equal(weights[k]) for k in weights), at
        assert rows(out) == losses and rows(out, "eval_loss"), at
        assert json.loads((out / "run.json").read_text())["results"] == was["results"], at
        assert (out / "config.yaml").read_text() == config.replace(
            str(tmp_path / "quiet"), str(below)
        ), at
        assert not list(below.glob("*before*")), at
        shutil.rmtree(below)
