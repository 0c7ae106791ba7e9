"""One subject is asked about: the box is drawn, the question is about it, and it is of one video."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from data.config import load
from data.errors import UserError
from data.regions import PROMPT
from data.selection.config import FrameKeys
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.inference.config import DescribeConfig
from train.inference.describe import boxes_of
from train.inference.rows import rows_of


def red(jpeg):
    picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), int)
    return ((picture[..., 0] > 180) & (picture[..., 1:].max(axis=2) < 80)).sum()


def test_the_subject_is_marked_on_one_frame_of_the_whole_video(world):
    video = str(next((world.parent / "videos").glob("*.mp4")))
    keys = FrameKeys(max=6, px=96, window_s=4.0)
    config = load(DescribeConfig, [video, "adapter=r", "box=0.3,0.3,0.7,0.7"], "videos")
    (plain, *_), (row,) = (
        list(rows_of(video, keys)),
        list(rows_of(video, keys, boxes=boxes_of(config))),
    )
    assert row["prompt"] == PROMPT and row["end_s"] == row["duration_s"] > plain["end_s"]
    changed = [red(f["bytes"]) for f in row["frames"]]
    (before,) = rows_of(video, keys.model_copy(update={"window_s": None}))
    more = [now - red(f["bytes"]) for now, f in zip(changed, before["frames"], strict=True)]
    assert more[0] > 100 and more[1:] == [0] * 5
    (own,) = rows_of(video, keys, prompt="What of it?", boxes=boxes_of(config))
    assert own["prompt"] == "What of it?"
    late = load(DescribeConfig, [video, "adapter=r", "box=5,0.3,0.3,0.7,0.7"], "videos")
    assert boxes_of(late)[0].time_s == 5.0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["box=0.1,0.2"], "box: four numbers"),
        (["box=0.1,0.2,0.3,0.4", "out=x"], "box: of one video"),
        (["b.mp4", "box=0.1,0.2,0.3,0.4"], "box: of one video"),
        (["box=0.1,0.2,0.3,0.4", "format=request"], "box: of one video"),
    ],
)
def test_a_box_that_cannot_be_asked_about_is_one_line(argv, said):
    with pytest.raises(UserError, match=said):
        load(DescribeConfig, ["a.mp4", "adapter=r", *argv], "videos")


@pytest.mark.parametrize("box", ["10,20,300,400", "1.2,0.1,1.4,0.2", "0.5,0.5,0.1,0.1"])
def test_a_box_outside_of_the_picture_is_one_line(box):
    config = load(DescribeConfig, ["a.mp4", "adapter=r", f"box={box}"], "videos")
    with pytest.raises(UserError, match=r"^box: "):
        boxes_of(config)


@pytest.mark.slow
def test_by_the_command(world, tmp_path):
    train(world, tmp_path / "run", "train.steps=1", "eval.worth=false", "data.eval_share=0")
    video = next((world.parent / "videos").glob("*.mp4"))
    argv = [
        "scripts/describe.py",
        str(video),
        f"adapter={tmp_path}/run",
        "max_new_tokens=8",
        "format=json",
    ]
    told = call_command(*argv, "box=0.2,0.2,0.6,0.6")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["windows"] == 1
