"""What `evaluate` also says of models: what frames are worth, what was forgotten, which videos were seen before."""

import json
import shutil
import struct

import numpy as np
import pytest
from datasets import Dataset

from data.config import load
from data.media import VideoFile, content_id
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from tests.helpers.runs import train
from train.batches.split import split
from train.evaluation import worth
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.evaluation.general import ROWS
from train.inference.answer_loss import Describer
from train.inference.worth import worths
from train.run.saved import read_run

pytestmark = pytest.mark.slow
MEASURES = ("frames_worth", "answer_loss", "answer_loss_blank", "answer_loss_other")


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lora"
    train(world, out, "train.steps=2", "eval.worth=false")
    return out


def keys(world, run, out, *more):
    argv = [
        f"data.path={world}", f"adapter={run}", f"out={out}", "generate.max_new_tokens=8", "report=false",
    ]  # fmt: skip
    return load(EvaluateConfig, [*argv, *more])


def test_what_frames_are_worth_stands_beside_the_scores(world, run, tmp_path, capsys, monkeypatch):
    done = evaluate(keys(world, run, tmp_path / "a"))
    assert "frames are worth" in capsys.readouterr().out
    describer = Describer.load(read_run(run))
    rows = Prepared.open(world).rows()
    held = rows.select(split(rows, 0.2, 200).held)
    found = list(worths(describer, held, held["video_id"], batch=4, moves=False))
    (scored,) = done.scored
    for name, values in zip(
        MEASURES,
        zip(*((one.worth, one.own, one.blank, one.other) for one in found), strict=True),
        strict=True,
    ):
        assert scored[name].value == pytest.approx(np.mean(values), abs=1e-4), name
    stored = json.loads((tmp_path / "a/scores.json").read_text())["systems"]["tuned"]
    assert stored["scores"]["frames_worth"]["value"] == scored["frames_worth"].value

    # a second time no model is needed; with half of the losses, only for the other half
    monkeypatch.setattr(worth.Describer, "load", None)
    assert evaluate(keys(world, run, tmp_path / "a")).scored[0]["answer_loss"].value == (
        scored["answer_loss"].value
    )
    monkeypatch.undo()
    file = tmp_path / "a/answers/tuned-losses.jsonl"
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[:3]) + '{"id": "cut')
    evaluate(keys(world, run, tmp_path / "a"))
    assert len(file.read_text().splitlines()) == 1 + len(held)
    evaluate(keys(world, run, tmp_path / "b"))
    both = load(
        EvaluateConfig,
        [f"compare={tmp_path}/a,{tmp_path}/b", f"out={tmp_path}/both", "report=false"],
    )
    assert evaluate(both).scored[1]["frames_worth"].value == pytest.approx(
        scored["frames_worth"].value, abs=1e-4
    )


def test_what_was_forgotten_is_said_beside_the_base(world, run, tmp_path, capsys):
    done = evaluate(keys(world, run, tmp_path / "e", "general=true", "worth=false"))
    count = len(ROWS.read_text().splitlines())
    general = done.systems[0].general
    assert len(general.own) == len(general.base) == count >= 20
    assert np.isfinite(general.own).all() and list(general.own) != list(general.base)
    line = (
        f"tuned: {count} plain instructions without video, answer loss {np.mean(general.own):.3f}"
    )
    assert line in capsys.readouterr().out
    record = json.loads((tmp_path / "e/scores.json").read_text())["systems"]["tuned"]["general"]
    assert record["own"] == list(general.own)
    assert not any(m.name in MEASURES for m in done.scored[0].measures)


def test_held_out_videos_that_were_seen_under_another_name_are_named(world, tmp_path, capsys):
    videos = tmp_path / "videos"
    shutil.copytree(world.parent / "videos", videos)
    clips = sorted(videos.glob("*.mp4"))[:10]
    rows = [{"video": clip.name, "description": "A shape moves."} for clip in clips]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # the same pictures in another file, one of those that are held out
    for more in range(200):
        clips[0].write_bytes(
            clips[1].read_bytes() + struct.pack(">I", 8 + more) + b"free" + bytes(more)
        )
        names = [content_id(VideoFile(clip)) for clip in clips]
        parts = split(Dataset.from_dict({"video_id": names, "sample_id": names}), 0.2, 200)
        if 0 in parts.held and 1 in parts.train:
            break
    argv = ["source=jsonl", f"source.path={tmp_path}/rows.jsonl", f"source.videos={videos}"]
    argv += [f"out={tmp_path}/data", "frames.px=96", "frames.max=6", "workers=1"]
    prepare(load(PrepareConfig, argv))
    train(
        tmp_path / "data",
        tmp_path / "run",
        "train.steps=1",
        "data.target=paragraph",
        "eval.worth=false",
    )
    out = tmp_path / "evals"
    done = evaluate(keys(tmp_path / "data", tmp_path / "run", out, "worth=false"))
    what = "held-out videos of which a copy was trained on"
    assert done.problems.found[what] == [f"{names[0]} = {names[1]}"]
    assert what in capsys.readouterr().err
    quiet = evaluate(keys(tmp_path / "data", tmp_path / "run", out, "worth=false", "copies=false"))
    assert what not in quiet.problems.found
