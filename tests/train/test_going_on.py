"""Training goes on from a run: from its weights to the last digit, with what it was asked, and it says where from."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from data.config import load
from data.errors import UserError
from tests.helpers.runs import killed_after, rows, train
from train.config import TrainConfig
from train.hub.card import model_card
from train.memory.config import PlanConfig
from train.model.origin import on_its_base, origin_of, taken_over
from train.run.files import read_json
from train.run.saved import read_run
from train.sections import ModelKeys

TWO = ["train.steps=2", "train.save_every=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("going-on")


@pytest.fixture(scope="module")
def adapter(world, tiny_folder, runs):
    """A LoRA run with a prompt of its own and fewer tokens a frame."""
    out = runs / "adapter"
    asked = ["data.target=paragraph", "data.prompt=What is there?", "lora.r=4"]
    fewer = ["model.tokens_a_frame=1", "lora.connector=true"]
    train(world, out, *TWO, *asked, *fewer, base=str(tiny_folder))
    return out


@pytest.fixture(scope="module")
def whole(world, tiny_folder, runs):
    train(world, runs / "whole", *TWO, method="full", base=str(tiny_folder))
    return runs / "whole"


@pytest.fixture(scope="module")
def second(world, adapter, runs):
    """Goes on from `adapter`, told nothing but where."""
    out = runs / "second"
    train(world, out, "train.steps=4", "train.save_every=2", base=str(adapter))
    return out


def goes_on(world, first, out, *more, method="lora"):
    """The held-out loss after the last step of the first run, and before the first of the second."""
    train(world, out, *TWO, *more, method=method, base=str(first))
    ended = rows(first, "eval_loss")
    return ended[max(ended)], rows(out, "eval_loss")[0]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("lora", []),
        pytest.param("qlora", [], marks=pytest.mark.slow),
        pytest.param("lora", ["lora.dora=true"], marks=pytest.mark.slow),
        pytest.param("lora", ["lora.targets=all", "lora.rslora=true"], marks=pytest.mark.slow),
    ],
    ids=["lora", "qlora", "dora", "all"],
)  # fmt: skip
def test_an_adapter_goes_on_to_the_last_digit(world, tiny_folder, tmp_path, method, more):
    first = tmp_path / "first"
    train(world, first, *TWO, *more, method=method, base=str(tiny_folder))
    before, after = goes_on(world, first, tmp_path / "second", method=method)
    assert before == after
    # the same adapter, on the same base, trained further
    own, further = (
        load_file(run / "adapter_model.safetensors") for run in (first, tmp_path / "second")
    )
    assert own.keys() == further.keys()
    assert not all(torch.equal(own[key], further[key]) for key in own)
    run = read_run(tmp_path / "second")
    assert run.base.name == str(tiny_folder) and run.is_adapter


@pytest.mark.slow
def test_so_does_one_with_its_connector_and_fewer_tokens(adapter, second):
    ended = rows(adapter, "eval_loss")
    assert rows(second, "eval_loss")[0] == ended[max(ended)]


@pytest.mark.slow
def test_a_whole_model_is_trained_on(world, whole, tmp_path):
    before, after = goes_on(world, whole, tmp_path / "second", method="full")
    assert before == after
    # or gets an adapter, whose base it then is
    before, after = goes_on(world, whole, tmp_path / "adapter")
    assert before == after
    assert read_run(tmp_path / "adapter").base.name == str(whole)


def test_it_keeps_what_it_was_asked(adapter, second):
    policy, first = (read_json(run / "frame_policy.json") for run in (second, adapter))
    assert policy == first
    assert policy["ask"]["prompt"] == "What is there?" and policy["tokens_a_frame"] == 1
    about = read_json(second / "adapter_config.json")
    assert about["r"] == 4 and about["modules_to_save"]
    assert read_run(second).base.tokens_a_frame == 1


@pytest.mark.slow
def test_what_is_given_is_what_it_does(world, adapter, tmp_path, capsys):
    more = ["data.target=timeline", "data.prompt=When?"]
    train(world, tmp_path / "other", *TWO, *more, base=str(adapter))
    assert read_json(tmp_path / "other/frame_policy.json")["ask"]["prompt"] == "When?"
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "learned with" in line]
    assert "data.target=paragraph (now timeline)" in note
    assert "data.prompt=What is there? (now When?)" in note and "frames." not in note


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["train.method=full"], "train.method=full: model.name={} is an adapter and learned with train.method=lora"),
        (["train.method=qlora"], "scripts/merge.py adapter={}"),
        (["lora.r=8"], "lora.r=8: model.name={} is an adapter and learned with lora.r=4"),
        (["lora.connector=false"], "lora.connector=False"),
        (["model.tokens_a_frame=4"], "learned with model.tokens_a_frame=1"),
        (["eval.generate_every=2", "eval.best=soda_c"], "with the keys of that run: eval.best=soda_c: needs times"),
    ],
)  # fmt: skip
def test_an_adapter_stays_what_it_is(adapter, more, said):
    config = load(TrainConfig, [f"model.name={adapter}", *more])
    with pytest.raises(UserError) as raised:
        taken_over(config, origin_of(config.model))
    assert said.format(adapter) in str(raised.value)


def test_a_run_that_was_stopped_is_continued_first(world, second, tmp_path):
    stopped = killed_after(second, 2, tmp_path / "stopped")
    with pytest.raises(UserError) as raised:
        train(world, tmp_path / "on", base=str(stopped))
    assert f"train.resume=true train.output={stopped} continues it" in str(raised.value)
    assert f"model.name={stopped / 'checkpoint-2'} is its last checkpoint" in str(raised.value)
    assert not (tmp_path / "on").exists()
    # or from that checkpoint
    origin = origin_of(ModelKeys(name=str(stopped / "checkpoint-2")))
    assert origin is not None and origin.keys["data.prompt"] == "What is there?"


def test_a_finished_run_is_not_continued(world, second, capsys):
    results = train(world, second, "train.resume=true", base=str(second))
    assert results["steps"] == 4
    assert f"model.name={second} train.output=… goes on from it" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stop_in_the_second_run_needs_nothing_of_the_first(world, adapter, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(adapter, first)
    quiet = tmp_path / "quiet"
    train(world, quiet, "train.steps=4", "train.save_every=2", base=str(first))
    again = killed_after(quiet, 2, tmp_path / "again")
    shutil.rmtree(first)
    train(world, again, "train.steps=4", "train.save_every=2", "train.resume=true", base=str(first))
    ended, other = (load_file(run / "adapter_model.safetensors") for run in (quiet, again))
    assert all(torch.equal(ended[key], other[key]) for key in ended)
    assert (
        read_json(quiet / "run.json")["went_on_from"]
        == (read_json(again / "run.json")["went_on_from"])
    )


@pytest.mark.slow
def test_the_line_of_runs_is_known(world, adapter, second, tmp_path):
    train(world, tmp_path / "third", *TWO, base=str(second))
    line = json.loads((tmp_path / "third/run.json").read_text())["went_on_from"]
    assert [one["run"] for one in line] == [str(second), str(adapter)]
    assert [one["steps"] for one in line] == [4, 2]
    assert len({one["weights_sha256"] for one in line}) == 2
    card = model_card(tmp_path / "third", "you/third")
    assert f"goes on from | second (4 steps, weights `{line[0]['weights_sha256'][:12]}`)" in card
    assert "which went on from adapter (2 steps" in card and str(tmp_path) not in card


def test_the_plan_is_that_of_the_adapter_s_base(adapter, tiny_folder):
    config = on_its_base(load(PlanConfig, [f"model.name={adapter}"]))
    assert config.model.name == str(tiny_folder) and config.model.tokens_a_frame == 1
    assert config.lora.r == 4 and config.lora.connector


def test_a_base_checkpoint_is_none(tiny_folder):
    assert origin_of(ModelKeys(name=str(tiny_folder))) is None
    assert origin_of(ModelKeys(name="tiny")) is None
    assert origin_of(ModelKeys(name="no/such-model")) is None  # said by another check


def test_another_kind_of_adapter_is_refused(adapter, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    about = read_json(adapter / "adapter_config.json") | {"target_modules": ["q_proj", "v_proj"]}
    (foreign / "adapter_config.json").write_text(json.dumps(about))
    shutil.copy(adapter / "adapter_model.safetensors", foreign)
    with pytest.raises(UserError, match="another kind than scenescribe trains"):
        origin_of(ModelKeys(name=str(foreign)))


@pytest.mark.slow
def test_a_connector_alone_is_trained_over_the_tower_s_features(world, tiny_folder, tmp_path):
    """LLaVA's first stage, then the second on what it made, with the first's data looked at again."""
    stage = ["optim.lr=0", "optim.lr_connector=1e-2", "data.target=paragraph"]
    first, second = tmp_path / "first", tmp_path / "second"
    train(world, first, *TWO, *stage, method="full", base=str(tiny_folder))
    changed = {
        key.split(".")[1]
        for key, weight in load_file(first / "model.safetensors").items()
        if not torch.equal(weight, load_file(tiny_folder / "model.safetensors")[key])
    }
    assert changed == {"connector"}
    also = ["data.target=timeline", f"eval.also={world}", "train.resume=false"]
    train(world, second, *TWO, *also, base=str(first))
    # asked as the first stage was, the first stage's data has its loss
    ended = rows(first, "eval_loss")
    assert rows(second, "eval_also_loss")[0] == ended[max(ended)]
    assert rows(second, "eval_loss")[0] != ended[max(ended)]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train.method=full", "optim.lr=0"], "nothing would train"),
        (["train.method=full", "optim.lr=0", "optim.lr_connector=0", "optim.lr_vision=0"], "nothing would train"),
        (["train.method=lora", "optim.lr=0"], "an adapter that does not learn"),
        (["train.method=lora", "lora.connector=true", "optim.lr_connector=0"], "leave one of them out"),
        (["eval.also=x", "data.eval_share=0"], "no video is held out"),
        (["eval.also=x", "data.features=true"], "its frames are not cached"),
    ],
)  # fmt: skip
def test_a_stage_that_cannot_be_is_refused(argv, said):
    with pytest.raises(UserError, match=said):
        load(TrainConfig, argv)


def test_a_dataset_that_is_not_there_is_said_at_once(world, tiny_folder, tmp_path):
    with pytest.raises(UserError, match=r"eval\.also=nowhere: no prepared dataset there"):
        train(world, tmp_path / "run", "eval.also=nowhere", base=str(tiny_folder))


@pytest.mark.slow
def test_a_run_that_no_longer_says_what_it_said_is_refused(world, adapter, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(adapter, first)
    mark = read_json(first / "fingerprint.json")
    sure = [[0.96, *[0.01] * (len(row) - 1)] for row in mark["probabilities"]]
    (first / "fingerprint.json").write_text(json.dumps(mark | {"probabilities": sure}))
    with pytest.raises(UserError, match=r"model\.name=.* does not say what .*train\.force=true"):
        train(world, tmp_path / "on", base=str(first))
    assert not (tmp_path / "on").exists()  # no run has begun
    train(world, tmp_path / "on", *TWO, "train.force=true", base=str(first))
