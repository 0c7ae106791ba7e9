"""A stopped run goes on with what it began with: its data, its order, its weights; or says that it cannot."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from data.config import load
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from tests.helpers.runs import contents, killed_after, losses, rows, steps, train
from train.config import TrainConfig
from train.hub.card import model_card
from train.run.folder import inspect_run_folder
from train.run.keys import flat, keys_of, nested
from train.run.keys import flat_keys as plain_keys
from train.run.resume import Start, check_same, restore_keys
from train.run.saved import read_run
from train.run.state import devices, ordering, read_state

RESUME = "train.resume=true"


@pytest.fixture(scope="module")
def quiet(world, tiny_folder, tmp_path_factory):
    """Eight steps that nobody stopped, with a checkpoint after each second."""
    out = tmp_path_factory.mktemp("runs") / "quiet"
    train(world, out, *HOW, base=str(tiny_folder))
    return out


HOW = [
    "train.steps=8",
    "train.save_every=2",
    "train.keep_checkpoints=9",
    "train.eval_every=4",
    "train.batch=2",
    "train.accumulate=2",
]

BEST = [*(key for key in HOW if "save_every" not in key), "eval.best=loss"]


@pytest.fixture
def stopped(quiet, tmp_path):
    return killed_after(quiet, 4, tmp_path / "stopped")


def same_adapter(a, b, atol=0.0):
    x, y = (load_file(f / "adapter_model.safetensors") for f in (a, b))
    return x.keys() == y.keys() and all(torch.allclose(x[k], y[k], rtol=0, atol=atol) for k in x)


def test_its_folder_alone_brings_all_keys_back(world, quiet, stopped, tiny_folder):
    from train import sft

    config = stopped / "config.yaml"
    text = config.read_text()
    assert "keep_checkpoints:" in text and "shuffle_buffer:" in text
    # as an earlier version wrote it
    config.write_text(
        text.replace("keep_checkpoints:", "keep:").replace("shuffle_buffer:", "buffer:")
    )
    sft.main(load(TrainConfig, [RESUME, f"train.output={stopped}"]))
    assert losses(stopped) == losses(quiet) and same_adapter(stopped, quiet)
    kept = keys_of(stopped, read_state(stopped).parts)
    assert {k: v for k, v in kept.items() if k != "train.output"} == {
        k: v for k, v in keys_of(quiet, ()).items() if k != "train.output"
    }


def test_finished_is_finished(world, quiet, tiny_folder, tmp_path, capsys):
    out = tmp_path / "done"
    shutil.copytree(quiet, out)
    before = contents(out)
    results = train(world, out, *HOW, RESUME, base=str(tiny_folder))
    said = capsys.readouterr().out
    assert "finished after 8 steps: nothing to resume, nothing written" in said
    assert f"model.name={out} train.output=… goes on from it" in said and results["steps"] == 8
    longer = ["train.steps=12", *HOW[1:]]
    with pytest.raises(UserError, match=r"train\.steps=12: .* is finished after 8 steps and stays"):
        train(world, out, *longer, RESUME, base=str(tiny_folder))
    assert contents(out) == before


def test_killed_while_the_result_was_saved(world, quiet, tiny_folder, tmp_path):
    """All steps are done: they are not done again, nor more of them."""
    out = killed_after(quiet, 8, tmp_path / "end")
    (out / "adapter_model.safetensors").write_bytes(b"half")
    results = train(world, out, *HOW, RESUME, base=str(tiny_folder))
    assert results["steps"] == 8 and losses(out) == losses(quiet) and same_adapter(out, quiet)
    told, was = (json.loads((f / "run.json").read_text())["results"] for f in (out, quiet))
    assert told == was


@pytest.mark.slow
def test_intervals_are_those_that_are_given_now(world, stopped, tiny_folder, capsys):
    more = ["train.save_every=1", "train.eval_every=2", "train.log_every=2"]
    how = [k for k in HOW if k.split("=")[0] not in {m.split("=")[0] for m in more}]
    train(world, stopped, *how, *more, RESUME, base=str(tiny_folder))
    assert steps(stopped) == [2, 4, 5, 6, 7, 8] and set(rows(stopped, "eval_loss")) >= {4, 6, 8}
    assert set(losses(stopped)) == {1, 2, 3, 4, 6, 8}
    assert "train.save_every=1 where it began with 2" in capsys.readouterr().out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Eight videos, and the function that prepares others in their place."""
    folder = tmp_path_factory.mktemp("data")

    def again(limit, out=folder / "prepared", px=64):
        shutil.rmtree(out, ignore_errors=True)
        source = SourceKeys(name="microworld", path=str(folder / "videos"), limit=limit)
        prepare(
            PrepareConfig(source=source, frames=FrameKeys(max=3, px=px), out=str(out), workers=1)
        )
        return out

    return again


@pytest.mark.slow
def test_other_data_are_not_gone_on_with(prepared, tiny_folder, tmp_path, capsys):
    data, out = prepared(8), tmp_path / "o"
    how = ["train.steps=6", "train.save_every=2", "train.keep_checkpoints=9", "train.accumulate=1"]
    train(data, out, *how, base=str(tiny_folder))
    whole = losses(out)
    moved = prepared(8, out=tmp_path / "moved")
    same = killed_after(out, 2, tmp_path / "same")
    train(moved, same, *how, RESUME, base=str(tiny_folder))  # the same data in another place
    assert losses(same) == whole
    other = killed_after(out, 2, tmp_path / "other")
    before = contents(other)
    for changed in (lambda: prepared(13), lambda: prepared(8, px=48)):
        data = changed()
        with pytest.raises(UserError, match=r"is not the dataset it began with.*train\.force=true"):
            train(data, other, *how, RESUME, base=str(tiny_folder))
        assert contents(other) == before
    train(data, other, *how, RESUME, "train.force=true", base=str(tiny_folder))
    assert "is not the dataset it began with" in capsys.readouterr().out


def test_as_many_videos_a_step_however_they_are_dealt(world, quiet, stopped, tiny_folder, tmp_path):
    less = ["train.steps=8", "train.save_every=2", "train.keep_checkpoints=9", "train.eval_every=4"]
    with pytest.raises(
        UserError, match=r"= 2 videos a step where it began with 4 \(train\.accumulate=4 makes"
    ):
        train(
            world,
            stopped,
            *less,
            "train.batch=1",
            "train.accumulate=2",
            RESUME,
            base=str(tiny_folder),
        )
    train(
        world, stopped, *less, "train.batch=1", "train.accumulate=4", RESUME, base=str(tiny_folder)
    )
    assert losses(stopped) == pytest.approx(losses(quiet), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [["data.stream=true", "data.shuffle_buffer=8"], ["train.batch=1", "train.accumulate=4"], ["train.pack=true", "train.pack_tokens=450", "train.batch=1", "train.accumulate=2"]],
)  # fmt: skip
def test_another_number_of_workers_or_passes_sees_the_same(world, tiny_folder, tmp_path, how):
    more = ["train.steps=8", "train.save_every=3", "train.keep_checkpoints=9", "data.eval_share=0"]
    more += [] if any("batch" in h for h in how) else ["train.batch=2", "train.accumulate=2"]
    train(world, tmp_path / "whole", *how, *more, base=str(tiny_folder))
    out = killed_after(tmp_path / "whole", 3, tmp_path / "o")
    now = [k for k in [*how, *more] if not k.startswith(("train.batch", "train.accumulate"))]
    now += (
        ["train.accumulate=1", "train.batch=4"]
        if "train.pack=true" not in how
        else ["train.batch=1", "train.accumulate=2"]
    )
    train(world, out, *now, "data.workers=2", RESUME, base=str(tiny_folder))
    assert losses(out) == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_the_order_is_that_of_the_beginning(quiet, stopped, world):
    """Kind of order, batch and lanes do not follow from what serves now."""
    argv = [
        f"train.output={stopped}",
        RESUME,
        "train.batch=1",
        "train.accumulate=4",
        "data.workers=7",
    ]
    config = load(TrainConfig, argv)
    config, start = restore_keys(config, inspect_run_folder(config.train, config.model.name))
    from train.early_checks import check_data

    order = check_same(config, start, check_data(config.data))
    assert order == read_state(quiet).order and order.kind == "grouped" and order.batch == 2
    assert ordering(config.train, config.data, devices()) != order


def test_what_was_seen_is_not_seen_otherwise(world, stopped, tiny_folder):
    for key in (
        "data.eval_share=0.4",
        "train.seed=1",
        "data.max_tokens=300",
        "data.target=paragraph",
    ):
        with pytest.raises(
            UserError, match=rf"{key.split('=')[0]}=.* where it began with .*held-out"
        ):
            train(world, stopped, *HOW, key, RESUME, base=str(tiny_folder))
    with pytest.raises(UserError, match=r"optim\.name"):
        config = load(TrainConfig, [RESUME, f"train.output={stopped}", "optim.name=adamw_8bit"])
        config, start = restore_keys(config, inspect_run_folder(config.train, config.model.name))
        check_same(config, start, None)


@pytest.mark.slow
def test_a_longer_run_says_what_its_schedule_does(world, stopped, tiny_folder, capsys):
    how = [k for k in HOW if not k.startswith("train.steps")]
    with pytest.raises(UserError, match=r"train\.steps=3: the run is at step 4 already"):
        train(world, stopped, *how, "train.steps=3", RESUME, base=str(tiny_folder))
    train(world, stopped, *how, "train.steps=12", RESUME, base=str(tiny_folder))
    said = capsys.readouterr().out
    rate = rows(stopped, "learning_rate")[6]
    assert (
        f"note: 12 steps where it began with 8: cosine over the whole of them, so step 6 has learning rate {rate:.2e} in place of"
        in said
    )
    told = json.loads((stopped / "run.json").read_text())["parts"]
    assert [p["from_step"] for p in told] == [0, 4] and told[1]["changed"]["train.steps"] == 12
    text = model_card(stopped, "you/x")
    assert "Stopped, and resumed after step 4 with " in text and "`train.steps=12`" in text


@pytest.mark.slow
def test_a_run_stopped_before_its_first_checkpoint_begins_again(
    world, quiet, tiny_folder, tmp_path, capsys
):
    out = killed_after(quiet, 0, tmp_path / "early")
    (out / "checkpoint-2").mkdir()
    (out / "checkpoint-2/adapter_model.safetensors").write_bytes(b"half")
    train(world, out, *HOW, RESUME, base=str(tiny_folder))
    assert "stopped before its first checkpoint: it begins again" in capsys.readouterr().out
    assert losses(out) == losses(quiet) and same_adapter(out, quiet)


# --- the best -----------------------------------------------------------------------------------


def test_the_best_is_found_after_a_resume_in_another_place(
    world, quiet, tiny_folder, tmp_path, capsys
):
    """Asked for only now, in a folder that was moved: what is said, recorded and saved is one step."""
    out = killed_after(quiet, 6, tmp_path / "moved")
    lines = (out / "metrics.jsonl").read_text()
    state = json.loads((out / "checkpoint-6/trainer_state.json").read_text())
    for row in state["log_history"]:  # as if step 4 had been the best by far
        if row["step"] == 4 and "eval_loss" in row:
            row["eval_loss"] = 0.5
    (out / "checkpoint-6/trainer_state.json").write_text(json.dumps(state))
    assert '"step": 4' in lines
    results = train(world, out, *BEST, RESUME, base=str(tiny_folder))
    said = capsys.readouterr().out
    assert "step 4 is the best by eval_loss (0.5000) and is kept" in said
    assert same_adapter(out, out / "checkpoint-4") and not same_adapter(out, out / "checkpoint-8")
    assert results["best_step"] == 4 and results["eval_loss_after"] == 0.5


def test_a_best_that_is_gone_is_said(world, quiet, tiny_folder, tmp_path, capsys):
    out = killed_after(quiet, 6, tmp_path / "gone")
    shutil.rmtree(out / "checkpoint-4")
    state = json.loads((out / "checkpoint-6/trainer_state.json").read_text())
    for row in state["log_history"]:
        if row["step"] == 4 and "eval_loss" in row:
            row["eval_loss"] = 0.5
    (out / "checkpoint-6/trainer_state.json").write_text(json.dumps(state))
    results = train(world, out, *BEST, RESUME, base=str(tiny_folder))
    assert (
        "note: step 4 was better (0.5000), but there is no checkpoint of it"
        in capsys.readouterr().out
    )
    assert results["best_step"] == 8 and same_adapter(out, out / "checkpoint-8")


# --- what is told of it -------------------------------------------------------------------------


def test_the_base_keeps_its_revision(world, tiny_folder, tmp_path):
    out = tmp_path / "o"
    train(
        world,
        out,
        "train.steps=2",
        "train.save_every=1",
        "train.accumulate=1",
        "model.revision=v2",
        "data.eval_share=0",
        base=str(tiny_folder),
    )
    assert json.loads((out / "run.json").read_text())["revision"] == "v2"
    for folder in (out, out / "checkpoint-1"):
        assert json.loads((folder / "adapter_config.json").read_text())["revision"] == "v2"
        assert read_run(folder).base.revision == "v2" and read_run(folder).frames.max == 6
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "base": "acme/x", "base_is_folder": False}))
    assert 'from_pretrained("acme/x", revision="v2", dtype="auto")' in model_card(out, "you/x")


@pytest.mark.parametrize("method", ["full", pytest.param("qlora", marks=pytest.mark.slow)])
def test_the_models_own_configuration_is_its_bases(world, tiny_folder, tmp_path, method):
    out = tmp_path / "o"
    train(world, out, "train.steps=1", "data.eval_share=0", base=str(tiny_folder), method=method)
    if method == "full":
        for folder in (out, out / "checkpoint-1"):
            told, was = (json.loads((f / "config.json").read_text()) for f in (folder, tiny_folder))
            assert told.get("use_cache") == was.get("use_cache")


@pytest.mark.slow
def test_tensorboard_has_each_step_once(world, tiny_folder, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    how = [
        "train.steps=4",
        "train.save_every=2",
        "train.keep_checkpoints=9",
        "train.accumulate=1",
        "log.to=tensorboard",
    ]
    train(world, tmp_path / "a", *how, base=str(tiny_folder))
    out = killed_after(tmp_path / "a", 2, tmp_path / "o")
    train(world, out, *how, RESUME, base=str(tiny_folder))
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4]


def test_keys_are_flat_and_nested_again(quiet):
    config = load(TrainConfig, [f"recipe={quiet}/config.yaml"])
    assert nested(plain_keys(config))["train"]["steps"] == 8
    assert TrainConfig.model_validate(nested(plain_keys(config))) == config
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": {}}) == {"a.b": 1, "a.c.d": None, "e": {}}
    assert Start(quiet).step == 0 and Start(quiet, quiet / "checkpoint-8").step == 8
