"""The whole FineVideo path: 200 rows with real video bytes → prepare → two QLoRA steps → describe."""

import json
from pathlib import Path

import pytest

from data.prepared.dataset import Prepared
from data.prepared.shards import read_manifest
from data.sources import microworld
from tests.helpers import finevideo as made
from tests.helpers.videos import run_command

pytestmark = pytest.mark.slow


def test_from_parquet_to_a_description(tmp_path):
    videos, rows = [], []
    (tmp_path / "videos").mkdir()
    for i in range(200):
        path = microworld.render(7, i % 40, tmp_path / "videos")
        scenes = microworld.story(7, i % 40)
        row = made.row(i, round(sum(s.num_frames for s in scenes) / microworld.FPS))
        videos.append(path.read_bytes() if i % 50 else b"<html>gone</html>")
        rows.append(row)
    for shard in range(4):
        part = slice(50 * shard, 50 * shard + 50)
        name = f"finevideo/data/train-{shard:05d}-of-00004.parquet"
        made.write_parquet(tmp_path / name, rows[part], videos[part], group=50)
    prepared, run = tmp_path / "prepared", tmp_path / "run"
    done = run_command(
        "scripts/prepare.py", "recipe=finevideo-500", f"source.path={tmp_path}/finevideo", f"out={prepared}",
        "frames.max=6", "source.limit=160", "source.qa=true", "source.speech_context=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    manifest = read_manifest(prepared)
    assert manifest["rows"] + sum(manifest["quarantined"].values()) == 160
    assert set(manifest["quarantined"]) <= {"unreadable"} and manifest["left_out"]
    row = Prepared.open(prepared).rows()[0]
    assert row["context"].startswith("Speech:") and row["turns"] and "CC BY" in row["credit"]
    done = run_command(
        "train/sft.py", "recipe=qlora", "model.name=tiny", f"data.path={prepared}", "train.steps=2",
        f"train.output={run}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Speech:" in done.stdout  # the example that is shown before step 1
    told = run_command(
        "scripts/describe.py", str(next(Path(tmp_path / "videos").glob("*.mp4"))), f"adapter={run}",
        "max_new_tokens=8", "format=json",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    assert json.loads(told.stdout)["times_s"]
