"""What frames are worth, measured while training: the loss of held-out answers with frames that are not theirs."""

import json
import shutil

import numpy as np
import pytest

from data.config import load
from data.prepared.dataset import Prepared
from tests.helpers.runs import STEPS, keys, losses, rows, train
from train.batches.cache_features import cache_features
from train.batches.frames import frame_size_px
from train.batches.split import split
from train.batches.swapped import blank, others_of, spread
from train.config import TrainConfig
from train.inference.answer_loss import Case, Describer
from train.run.saved import read_run

SHORT = ["train.steps=2", "eval.samples=2"]


@pytest.fixture(scope="module")
def plain(world, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("worth") / "plain"
    train(world, out, *SHORT, "train.batch=2", base=str(tiny_folder))
    return out


def measured(out):
    names = ("eval_loss", "eval_blank_loss", "eval_other_loss", "eval_worth")
    return {name: rows(out, name) for name in names}


def test_the_losses_are_those_of_grey_frames_and_of_another_videos(world, plain):
    found = measured(plain)
    assert all(list(values) == [0, 2] for values in found.values())
    describer = Describer.load(read_run(plain))
    every = Prepared.open(world).rows()
    held = every.select(split(every, 0.2, 200).held)
    others = others_of(held["video_id"])
    seen = [describer.features([f["bytes"] for f in row["frames"]]) for row in held]
    grey = describer.features_of(blank(frame_size_px(describer.processor)))
    told = {"eval_loss": [], "eval_blank_loss": [], "eval_other_loss": []}
    tokens = []
    for i, row in enumerate(held):
        count = len(seen[i])
        ways = (seen[i], grey.expand(count, -1, -1), spread(seen[others[i]], count))
        cases = [Case(row, features, tuple(range(count))) for features in ways]
        for values, loss in zip(told.values(), describer.losses(cases).tolist(), strict=True):
            values.append(loss)
        labels = describer._sample(cases[0])["labels"]
        tokens.append(sum(label >= 0 for label in labels))
    for name, values in told.items():
        assert found[name][2] == pytest.approx(np.average(values, weights=tokens), abs=2e-4), name
    assert found["eval_worth"][2] == pytest.approx(
        found["eval_blank_loss"][2] - found["eval_loss"][2]
    )
    record = json.loads((plain / "run.json").read_text())["results"]
    assert record["frames_worth_before"] == found["eval_worth"][0]
    assert record["frames_worth_after"] == found["eval_worth"][2]


@pytest.mark.slow
@pytest.mark.parametrize("how", [["train.pack=true"], ["data.stream=true"], ["data.features=true"]])
def test_packs_streams_and_caches_measure_the_same(world, plain, tiny_folder, tmp_path, how):
    data = world
    if how == ["data.features=true"]:
        data = shutil.copytree(world, tmp_path / "data")
        config = load(TrainConfig, keys(data, tmp_path / "x", base=str(tiny_folder)))
        cache_features(config, Prepared.open(str(data)))
    train(data, tmp_path / "run", *SHORT, *how, base=str(tiny_folder))
    for name, values in measured(tmp_path / "run").items():
        assert values[0] == pytest.approx(measured(plain)[name][0], abs=2e-4), name


@pytest.mark.slow
def test_only_at_both_ends_and_not_where_it_is_left_out(world, tmp_path):
    train(world, tmp_path / "a", "train.eval_every=2", "data.workers=1")
    assert list(rows(tmp_path / "a", "eval_loss")) == [0, 2, STEPS]
    assert list(rows(tmp_path / "a", "eval_worth")) == [0, STEPS]
    train(world, tmp_path / "b", "eval.worth=false", "data.eval_share=0.01")
    assert not rows(tmp_path / "b", "eval_worth") and losses(tmp_path / "b")
    train(world, tmp_path / "c", "data.eval_share=0.01")  # one video: there is no other
    assert rows(tmp_path / "c", "eval_worth") and not rows(tmp_path / "c", "eval_other_loss")
