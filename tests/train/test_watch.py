"""Descriptions while training: to the same logs, in the time allowed, and the best checkpoint kept."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.config import load
from data.errors import UserError
from tests.helpers import processes
from tests.helpers.judge import judging
from tests.helpers.videos import run_command
from train import sft
from train.config import TrainConfig
from train.evaluation import in_training


def train(world, out, *extra):
    argv = [
        "train.method=full", "model.name=tiny", f"data.path={world}", f"train.output={out}", "data.eval_share=0.2",
        "data.workers=0", "optim.lr=5e-3", "train.batch=4", "train.accumulate=1", "train.steps=6", "train.log_every=1",
        "eval.generate_every=2", "eval.samples=3", "eval.max_new_tokens=24",
    ]  # fmt: skip
    given = {a.split("=")[0] for a in extra}
    return sft.main(
        load(TrainConfig, [a for a in argv if a.split("=")[0] not in given] + list(extra))
    )


def rows(out, name="eval_soda_c"):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return {r["step"]: r for r in map(json.loads, lines) if name in r}


@pytest.mark.slow
def test_scores_and_texts_reach_the_loggers(world, tmp_path, capsys):
    out = tmp_path / "o"
    train(world, out, "log.to=tensorboard")
    found = rows(out)
    assert list(found) == [0, 2, 4, 6]
    for row in found.values():
        assert row["eval_described"] == 3 and 0 <= row["eval_soda_c"] <= 1
        assert {"eval_f1_tiou", "eval_cider_d", "eval_degenerate", "eval_scene_f1"} <= set(row)
    said = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(said) == 12 and len({r["id"] for r in said}) == 3
    events = EventAccumulator(str(next((out / "tensorboard").rglob("events*")).parent))
    events.Reload()
    assert [e.step for e in events.Scalars("eval/soda_c")] == [0, 2, 4, 6]
    texts = [tag for tag in events.Tags()["tensors"] if tag.startswith("samples/")]
    assert len(texts) == 3 and len(events.Tensors(texts[0])) == 4
    assert len(events.Tags()["images"]) == 3  # their frames
    assert all(
        r["videos_per_s"] > 0 and r["tokens_per_s"] > r["videos_per_s"] and r["memory_gib"] > 0
        for r in rows(out, "loss").values()
    )
    assert {"lr_connector", "lr_llm"} <= set(rows(out, "loss")[2])
    page = (out / "run.html").read_text()
    assert page.count("<section>") == 3 and page.count("data:image/jpeg") == 3
    assert all(r["text"][:20] in page or "&" in page for r in said) and "videos a second" in page
    assert (
        "every 2 steps 3 of them are described, in 300 s at most; that holds up to"
        in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "qlora"])
def test_it_changes_nothing_in_what_is_learned(world, tmp_path, method):
    """Not in 4 bits either, where a forward pass in evaluation once changed the weights' layout."""
    chosen = f"train.method={method}"
    train(world, tmp_path / "a", chosen)
    train(world, tmp_path / "b", chosen, "eval.generate_every=null", "train.eval_every=2")
    a, b = rows(tmp_path / "a", "loss"), rows(tmp_path / "b", "loss")
    assert [r["loss"] for r in a.values()] == [r["loss"] for r in b.values()] and len(a) == 6


@pytest.mark.slow
def test_the_best_checkpoint_is_kept(world, tmp_path, monkeypatch, capsys):
    """SODA c as if it were best at step 2: that model is what the run leaves."""
    from safetensors.torch import load_file

    from train.evaluation.in_training import GenerationEval

    measure = GenerationEval.run

    def told(self, model, accelerator, step):
        return {
            **measure(self, model, accelerator, step),
            "eval_soda_c": {0: 0.9, 2: 0.5}.get(step, 0.1),
        }

    monkeypatch.setattr(GenerationEval, "run", told)
    out = tmp_path / "o"
    results = train(world, out, "eval.best=soda_c", "train.keep_checkpoints=2")
    assert (
        results["best_step"] == 2
        and "step 2 is the best by eval_soda_c (0.5000)" in capsys.readouterr().out
    )
    left, best, last = (
        load_file(p / "model.safetensors")
        for p in (out, out / "checkpoint-2", out / "checkpoint-6")
    )
    assert all((left[k] == best[k]).all() for k in best)
    assert any((left[k] != last[k]).any() for k in last)
    assert results["eval_loss_after"] == rows(out, "eval_loss")[2]["eval_loss"]


@pytest.mark.slow
def test_time_is_up(world, tmp_path, capsys):
    """A gap in the curve, and no end of the training."""
    results = train(world, tmp_path / "o", "eval.max_seconds=0.000001", "eval.best=soda_c")
    said = capsys.readouterr()
    assert said.err.count("eval.max_seconds=1e-06: not one video") == 4  # steps 0, 2, 4, 6
    assert rows(tmp_path / "o") == {} and results["steps"] == results["best_step"] == 6
    assert "no checkpoint has an eval_soda_c; the last step, 6, is kept" in said.out


@pytest.mark.slow
def test_a_judge_that_is_away_is_a_gap(world, tmp_path, capsys, monkeypatch):
    pytest.importorskip("openai")
    real, out = in_training.judged, tmp_path / "o"

    def away(*arguments, **named):
        if (out / "checkpoint-2").is_dir() and not (out / "checkpoint-4").is_dir():
            raise UserError("judge.base_url=here: answers 503")
        return real(*arguments, **named)

    monkeypatch.setattr(in_training, "judged", away)
    with judging() as bench:
        results = train(
            world, out, "train.steps=4", "eval.best=judge", "eval.judge.model=wise", "eval.samples=2",
            f"eval.judge.base_url={bench.url}", f"eval.judge.cache={tmp_path}/c.jsonl",
        )  # fmt: skip
    assert (
        "note: step 2: a gap in the curve of held-out videos, training goes on (judge.base_url="
        in capsys.readouterr().err
    )
    judged = rows(out, "eval_judge")
    assert 2 not in judged and 4 in judged  # the checkpoint of step 2 was saved first
    assert list(rows(out)) == [0, 2, 4] and results["best_step"] == 4  # the other figures are there


@pytest.mark.slow
def test_what_only_watches_cannot_end_a_training(world, tmp_path, capsys, monkeypatch):
    """A picture, a page, a tracker: each breaks, each is said once or each time, and all steps are done."""

    def broken(*_, **__):
        raise ConnectionError("the wire is cut")

    monkeypatch.setattr("train.loop.callbacks.write_page", broken)
    monkeypatch.setattr("train.evaluation.in_training.contact_sheet", broken)
    monkeypatch.setattr("transformers.integrations.TensorBoardCallback.on_log", broken)
    results = train(world, tmp_path / "o", "log.to=tensorboard", "train.steps=4")
    said = capsys.readouterr().err
    assert results["steps"] == 4 and list(rows(tmp_path / "o", "loss")) == [1, 2, 3, 4]
    assert said.count("note: log.to=tensorboard: ConnectionError: the wire is cut; its curve") == 1
    assert "run.html was not written (ConnectionError" in said
    assert "a gap in the curve of held-out videos, training goes on (ConnectionError" in said


@pytest.mark.slow
def test_a_checkpoint_is_saved_before_it_is_looked_at(world, tmp_path, monkeypatch):
    measure, there = in_training.GenerationEval.run, {}

    def told(self, model, accelerator, step):
        there[step] = (tmp_path / f"o/checkpoint-{step}/trainer_state.json").is_file()
        return measure(self, model, accelerator, step)

    monkeypatch.setattr(in_training.GenerationEval, "run", told)
    train(world, tmp_path / "o", "train.save_every=4", "train.steps=8")
    assert there == {0: False, 2: False, 4: True, 6: False, 8: True}


@pytest.mark.slow
def test_a_resumed_run_forgets_what_it_will_say_again(world, tmp_path):
    out = tmp_path / "o"
    train(world, out, "train.save_every=2")
    (out / "run.json").unlink()
    before = rows(out)
    shutil.rmtree(out / "checkpoint-6")
    train(world, out, "train.save_every=2", "train.resume=true")
    said = [json.loads(line)["step"] for line in (out / "samples.jsonl").read_text().splitlines()]
    assert said == [0] * 3 + [2] * 3 + [4] * 3 + [6] * 3
    assert rows(out)[6]["eval_soda_c"] == pytest.approx(before[6]["eval_soda_c"], abs=1e-6)


@pytest.mark.slow
def test_a_judge_may_choose_and_wandb_gets_the_table(world, tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    with judging() as bench:
        train(
            world, tmp_path / "o", "eval.best=judge", "eval.judge.model=wise", f"eval.judge.base_url={bench.url}",
            f"eval.judge.cache={tmp_path}/c.jsonl", "log.to=wandb", "train.steps=2",
        )  # fmt: skip
    assert "eval_judge" in rows(tmp_path / "o")[2]
    tables = list((tmp_path / "elsewhere/wandb").rglob("*.table.json"))
    assert tables and "reference" in tables[0].read_text()
    assert {table.name.split("_")[0] for table in tables} == {
        "samples"
    }  # one key: steps are its slider
    staged = list((tmp_path / "elsewhere/wandb/artifacts").rglob("tmp*"))
    assert any(file.read_bytes()[:4] == b"\x89PNG" for file in staged)  # frames stay with the run
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_trackio_gets_frames_and_texts_and_each_step_once(world, tmp_path):
    pytest.importorskip("trackio")
    out = tmp_path / "o"
    argv = [
        "train/sft.py", "model.name=tiny", f"data.path={world}", f"train.output={out}", "data.eval_share=0.2",
        "data.workers=0", "train.steps=2", "train.accumulate=1", "eval.generate_every=2", "eval.samples=2",
        "eval.max_new_tokens=8", "log.to=trackio", "train.log_every=1", "train.save_every=1",
    ]  # fmt: skip
    where = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}

    def logged():
        with closing(sqlite3.connect(tmp_path / "trackio/scenescribe.db")) as base:
            return [json.loads(text) for (text,) in base.execute("select metrics from metrics")]

    done = run_command(*argv, **where)
    assert done.returncode == 0, done.stderr[-2000:]
    tables = [row["samples"]["_value"] for row in logged() if "samples" in row]
    assert len(tables) == 2 and all(len(table) == 2 for table in tables)  # before, and at the end
    assert set(tables[0][0]) == {"video", "frames", "reference", "said"}
    assert any("eval/loss" in row for row in logged())
    assert len(list((tmp_path / "trackio/media").rglob("*.png"))) == 4
    shutil.rmtree(out / "checkpoint-2")  # as if it had been killed in the second step
    (out / "run.json").unlink()
    done = run_command(*argv, "train.resume=true", **where)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [row["train/global_step"] for row in logged() if "train/loss" in row]
    assert steps == [1, 2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["eval.best=soda_c"], "needs eval.generate_every"),
        (["eval.best=judge", "eval.generate_every=5"], "eval.judge.model"),
        (["eval.generate_every=5", "train.eval_every=2"], "multiple of train.eval_every=2"),
        (["eval.generate_every=4", "train.eval_every=2", "eval.best=soda_c"], "leave it out"),
        (["eval.generate_every=4", "data.eval_share=0"], "no video is held out"),
        (["eval.generate_every=4", "data.target=paragraph", "eval.best=soda_c"], "needs times"),
    ],
)
def test_keys_that_do_not_fit(given, words):
    with pytest.raises(UserError, match=words):
        load(TrainConfig, given)


@pytest.mark.slow
def test_two_processes_share_the_work(world, tmp_path, server):
    """Each describes its part; all know the same scores, or they would keep different checkpoints."""
    keys = ["eval.generate_every=1", "eval.samples=3", "eval.max_new_tokens=12", "eval.best=soda_c"]
    processes.forked(server, 2, world, tmp_path / "o", *keys, steps=2)
    found = rows(tmp_path / "o")
    assert list(found) == [0, 1, 2] and {r["eval_described"] for r in found.values()} == {3}
    said = [json.loads(line) for line in (tmp_path / "o/samples.jsonl").read_text().splitlines()]
    assert len(said) == 9 and len({r["id"] for r in said}) == 3
