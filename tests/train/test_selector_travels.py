"""The selector that chose a dataset's frames goes along: into the dataset, the run, what is merged and pushed."""

import json
import shutil

import pytest
import torch

from data.errors import UserError
from data.offline.prepare import prepare
from data.selection.config import SELECTOR_PATHS, FrameKeys
from data.selection.learned import selector
from data.selection.learned.network import SelectorNet, tensors_of
from tests.helpers.runs import train
from train.api import describe, load_run
from train.demo.world import world_keys
from train.hub.push import files_to_push
from train.inference.config import MergeConfig
from train.inference.merge import merge
from train.run.policy import read_policy, same_choice
from train.run.saved import read_run


def made(folder, seed):
    """A selector that was not trained: its boundaries are wrong, but always the same."""
    torch.manual_seed(seed)
    selector.read.cache_clear()
    selector.write(folder, tensors_of(SelectorNet()), {"boundaries": {}}, {})
    return folder


def keys_of(place, selector_folder, out):
    keys = world_keys(place / "videos", place / out, limit=10, frames=4)
    learned = {"boundaries": "learned", "selector": str(selector_folder)}
    return keys.model_copy(update={"frames": keys.frames.model_copy(update=learned)})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset and a run of a selector that then is removed."""
    place = tmp_path_factory.mktemp("travel")
    folder = made(place / "selector-of-mine", 1)
    prepare(keys_of(place, folder, "world"))
    train(place / "world", place / "run")
    shutil.rmtree(folder)
    selector.read.cache_clear()
    return place


def test_it_lies_in_the_dataset_and_in_the_run_with_its_hash(place):
    wanted = json.loads((place / "world/manifest.json").read_text())["policy"]["selector_sha256"]
    for folder in ("world", "run"):
        assert selector.read(str(place / folder / "selector")).sha256 == wanted
    policy = json.loads((place / "run/frame_policy.json").read_text())
    assert policy["frames"]["selector_sha256"] == wanted


def test_a_run_describes_where_the_selector_is_gone(place):
    run = read_run(place / "run")
    assert run.frames.selector == str(place / "run/selector")
    video = next((place / "videos").glob("*.mp4"))
    assert len(describe(load_run(place / "run"), video, max_new_tokens=4).frames) >= 1


def test_what_is_merged_and_pushed_has_it(place):
    merge(MergeConfig(adapter=str(place / "run"), out=str(place / "merged")))
    for name in SELECTOR_PATHS:
        assert (place / "merged" / name).read_bytes() == (place / "run" / name).read_bytes()
    assert set(SELECTOR_PATHS) <= files_to_push(place / "run", "you/run").keys()


def test_another_selector_of_the_same_name_is_refused(place, tmp_path):
    folder = made(place / "selector-of-mine", 2)
    with pytest.raises(UserError, match=r"holds a dataset made otherwise \(policy differs\)"):
        prepare(keys_of(place, folder, "world"))
    frames = read_policy(place / "run").frames.model_copy(update={"selector": str(folder)})
    with pytest.raises(UserError, match="is another one") as caught:
        selector.selector_of(frames)
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder)
    selector.read.cache_clear()


def test_the_same_selector_elsewhere_chooses_the_same():
    a = FrameKeys(boundaries="learned", selector="a/b", selector_sha256="0" * 64)
    assert same_choice(a, a.model_copy(update={"selector": "c/d"}))
    assert not same_choice(a, a.model_copy(update={"selector_sha256": "1" * 64}))
