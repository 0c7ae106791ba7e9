"""A checkpoint by its Hub id: the real client, over HTTP, to a stand-in on this machine."""

import json

import pytest

from tests.helpers.hub import COMMIT, serve
from tests.helpers.videos import run_command

REFUSED = {"acme/gated": (403, "GatedRepo"), "acme/private": (401, "RepoNotFound")}


@pytest.fixture(scope="module")
def hub(tiny_folder):
    with serve({"acme/tiny": tiny_folder}, REFUSED) as endpoint:
        yield endpoint


def train(world, hub, home, out, *extra):
    return run_command(
        "train/sft.py", "train.method=lora", f"data.path={world}", "data.eval_share=0", "data.workers=0", "train.steps=1",
        f"train.output={out}", *extra, HF_ENDPOINT=hub, HF_HOME=str(home), HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1"
    )  # fmt: skip


@pytest.mark.slow
def test_a_hub_checkpoint_is_fetched_trained_and_found_again(world, hub, tmp_path):
    out = tmp_path / "run"
    done = train(world, hub, tmp_path / "home", out, "model.name=acme/tiny")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((out / "run.json").read_text())
    assert record["base"] == "acme/tiny"
    assert record["revision"] == COMMIT  # what was loaded, where none was asked for
    assert json.loads((out / "adapter_config.json").read_text())["revision"] == COMMIT
    assert list((tmp_path / "home").rglob(f"snapshots/{COMMIT}/model.safetensors"))
    video = next((world.parent / "videos").glob("*.mp4"))
    told = run_command(
        "scripts/describe.py", str(video), f"adapter={out}", "max_new_tokens=3", "format=json",
        HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert (
        told.returncode == 0 and json.loads(told.stdout)["policy"]["max"] == 6
    )  # offline, from the cache


@pytest.mark.slow
def test_training_goes_on_from_an_adapter_on_the_hub(world, hub, tiny_folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    done = train(world, hub, tmp_path / "home", first, "model.name=acme/tiny", "lora.r=4")
    assert done.returncode == 0, done.stderr[-2000:]
    with serve({"acme/tiny": tiny_folder, "you/first": first}, REFUSED) as endpoint:
        done = train(world, endpoint, tmp_path / "home", second, "model.name=you/first")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((second / "run.json").read_text())
    assert record["base"] == "acme/tiny" and record["revision"] == COMMIT
    (origin,) = record["went_on_from"]
    assert (origin["run"], origin["revision"]) == ("you/first", COMMIT)
    assert json.loads((second / "adapter_config.json").read_text())["r"] == 4


REFUSALS = """
import sys
from data.config import UserError
from train.early_checks import check_reachable
from train.config import ModelKeys
for name in sys.argv[1:]:
    name, _, revision = name.partition("@")
    try:
        check_reachable(ModelKeys(name=name, revision=revision or None))
    except UserError as error:
        print(error)
"""


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_line(hub, tmp_path):
    online = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_secret"}
    names = ["acme/gated", "acme/private", "acme/nothing", "acme/tiny@v9", "acme/tiny"]
    done = run_command("-c", REFUSALS, *names, HF_ENDPOINT=hub, **online)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    words = [
        "accept its terms",
        "or no right",
        "no such model",
        "model.revision=v9: no such revision",
    ]
    assert len(said) == 4 and all(word in line for word, line in zip(words, said, strict=True))
    assert "hf_secret" not in done.stdout + done.stderr
    done = run_command("-c", REFUSALS, "acme/other", HF_ENDPOINT="http://127.0.0.1:9", **online)
    assert done.stdout.count("\n") == 1 and "cannot be fetched" in done.stdout
