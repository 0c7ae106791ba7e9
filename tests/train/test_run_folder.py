"""Whose a run folder is, and what is left in it by those that were refused or killed."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.config import load
from data.errors import UserError
from data.locks import locked, owner_of
from data.prepared.dataset import Prepared
from tests.helpers.runs import contents, keys, killed_after, rows, steps, train
from tests.helpers.videos import ROOT, run_command
from train.batches.cache_features import cache_features
from train.config import TrainConfig
from train.hub.push import files_to_push
from train.run.folder import (
    _new_folder,
    complete_checkpoints,
    move_aside,
    remove_half_written,
    remove_oldest,
)
from train.run.saved import read_run


@pytest.fixture(scope="module")
def plain(world, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "plain"
    train(world, out, "train.accumulate=1", "train.save_every=2", base=str(tiny_folder))
    return out


def test_a_folder_has_one_owner_who_is_named(world, plain, tmp_path):
    out = killed_after(plain, 2, tmp_path / "o")
    with locked(out, "here"):
        assert f"process {os.getpid()} on " in owner_of(out)
        for more in ([], ["train.resume=true"]):
            with pytest.raises(
                UserError, match=rf"another run is writing there \(process {os.getpid()} on "
            ):
                train(world, out, *more)
        with pytest.raises(
            UserError,
            match=rf"is still being trained \(process {os.getpid()}.*checkpoint-2 is its last",
        ):
            read_run(out)
    assert owner_of(out) is None
    with pytest.raises(UserError, match=r"training was stopped; train\.resume=true"):
        read_run(out)
    assert read_run(out / "checkpoint-2").frames.max == 6  # a checkpoint serves meanwhile


def test_a_lock_that_a_killed_process_left_to_its_dying_child_is_waited_for(tmp_path, monkeypatch):
    """As when a run is killed while it starts a worker: between fork and exec the child has its files."""
    code = (
        "import fcntl, os, sys, time\n"
        "folder = sys.argv[1]\n"
        "lock = os.open(f'{folder}/.lock', os.O_RDWR | os.O_CREAT)\n"  # filelock's own is closed in a fork
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "if os.fork(): os.kill(os.getpid(), 9)\n"
        "while os.path.exists(folder) and not os.path.exists(f'{folder}/go'): time.sleep(0.01)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    assert owner_of(tmp_path) is not None  # the child has it still
    monkeypatch.setattr("data.locks.LET_GO_S", 30.0)  # however busy this machine is
    let_go = threading.Timer(0.3, (tmp_path / "go").touch)
    let_go.start()
    with locked(tmp_path, "x"):
        assert f"process {os.getpid()} on " in owner_of(tmp_path)
    let_go.join()


def test_what_is_still_being_written_is_neither_pushed_nor_written_by_another(
    world, plain, tiny_folder, tmp_path
):
    out = killed_after(plain, 4, tmp_path / "o")
    with locked(out, "here"), pytest.raises(UserError, match="is still being trained"):
        files_to_push(out, "you/x")
    copied = shutil.copytree(world, tmp_path / "data")
    config = load(
        TrainConfig, [f"model.name={tiny_folder}", f"data.path={copied}", "data.workers=0"]
    )
    folder = cache_features(config, Prepared.open(copied))
    with locked(folder, "here"), pytest.raises(UserError, match="its features: another run is wri"):
        cache_features(config, Prepared.open(copied))


@pytest.mark.slow
def test_of_two_starts_at_once_one_trains(world, tmp_path):
    out = tmp_path / "o"
    argv = [
        [sys.executable, "train/sft.py", *keys(world, out, "train.steps=20", f"lora.r={r}")]
        for r in (4, 16)
    ]
    both = [
        subprocess.Popen(a, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for a in argv
    ]
    said = [p.communicate(timeout=300)[1] for p in both]
    codes = [p.returncode for p in both]
    assert sorted(codes) == [0, 2], said
    refused = said[codes.index(2)].strip().splitlines()[-1]
    assert "another run" in refused and list(rows(out)) == list(range(1, 21))
    told = json.loads((out / "adapter_config.json").read_text())["r"]
    assert f"r: {told}\n" in (out / "config.yaml").read_text()


def test_names_of_one_second_differ(tmp_path):
    made = {_new_folder(tmp_path, "lora") for _ in range(3)}
    assert len(made) == 3
    for _ in range(2):
        (tmp_path / "run").mkdir()
        move_aside(tmp_path / "run")
    assert len(list(tmp_path.glob("run-before-*"))) == 2


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (["data.max_tokens=64"], "none usable"),
        (["data.eval_share=0.99"], "leaves nothing"),
        (["train.pack=true", "train.pack_tokens=64", "data.max_tokens=400"], "the longest sample"),
        (["optim.name=adamw_8bit"], "needs a CUDA device"),
        (["log.to=trackio"], "not installed"),
        (["data.features=true"], "no features of this model"),
    ],
)
def test_a_refused_start_changes_nothing(
    world, plain, tiny_folder, tmp_path, monkeypatch, refused, words
):
    monkeypatch.setattr("train.run.trackers.find_spec", lambda _: None)
    out = tmp_path / "o"
    shutil.copytree(plain, out)
    before = contents(out)
    with pytest.raises(UserError, match=words):
        train(world, out, *refused, base=str(tiny_folder))
    with pytest.raises(UserError, match=words):
        train(world, tmp_path / "new", *refused, base=str(tiny_folder))
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["o"]


def a_checkpoint(folder, *, whole):
    folder.mkdir(parents=True)
    (folder / "weights").write_text("w")
    if whole:
        (folder / "trainer_state.json").write_text("{}")


@given(
    st.dictionaries(st.integers(1, 2000), st.booleans(), max_size=8),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_the_oldest_go_by_their_steps_whatever_the_clock_said(tmp_path_factory, found, keep, draw):
    folder = tmp_path_factory.mktemp("run")
    for step, whole in found.items():
        a_checkpoint(folder / f"checkpoint-{step}", whole=whole)
        os.utime(folder / f"checkpoint-{step}", (draw.randint(1, 2**31),) * 2)
    there = sorted(step for step, whole in found.items() if whole)
    best = draw.choice([None, *there])
    remove_oldest(folder, keep, None if best is None else folder / f"checkpoint-{best}")
    left = [int(p.name.removeprefix("checkpoint-")) for p in complete_checkpoints(folder)]
    must = {*there[-1:], *([best] if best else [])}
    assert must <= set(left) and len(left) == min(len(there), max(keep, len(must)))
    newest = [s for s in reversed(there) if s not in must][: max(0, keep - len(must))]
    assert set(left) == must | set(newest)
    remove_half_written(folder)
    assert steps(folder) == left


@pytest.mark.slow
def test_a_clock_that_is_behind_costs_no_checkpoint(world, plain, tiny_folder, tmp_path):
    out = killed_after(plain, 2, tmp_path / "o")
    os.utime(out / "checkpoint-2", (time.time() + 86400,) * 2)
    more = ["train.accumulate=1", "train.save_every=1", "train.steps=6", "train.resume=true"]
    train(world, out, *more, base=str(tiny_folder))
    assert steps(out) == [5, 6]


@pytest.mark.slow
def test_what_cannot_be_written_is_one_line_with_what_is_safe(world, tiny_folder, tmp_path):
    """As on a full disk: no file may grow beyond 300 kB, and the states of Adam do."""
    small = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000,) * 2); sys.argv = sys.argv[1:]; "
        "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    out = tmp_path / "o"
    train(world, out, "train.accumulate=1", "train.save_every=2", "lora.r=2", base=str(tiny_folder))
    killed = killed_after(out, 2, tmp_path / "killed")
    again = keys(
        world,
        killed,
        "train.accumulate=1",
        "train.save_every=2",
        "lora.r=2",
        "train.resume=true",
        base=str(tiny_folder),
    )
    fine = run_command("-c", small, "train/sft.py", *again)
    assert fine.returncode == 0, fine.stderr[-2000:]  # so small an adapter fits
    large = keys(
        world, tmp_path / "large", "train.accumulate=1", "train.save_every=2", base=str(tiny_folder)
    )
    done = run_command("-c", small, "train/sft.py", *large)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    (line,) = [x for x in done.stderr.splitlines() if "could not be written" in x]
    assert "checkpoint-2 could not be written" in line and "no checkpoint was saved before" in line
    assert steps(tmp_path / "large") == [] and not (tmp_path / "large/run.json").exists()


def test_files_of_a_run_are_json_whatever_is_logged():
    from train.run.files import json_text

    rows_ = {"loss": float("nan"), "grad_norm": float("inf"), "said": ["ok", -float("inf")], "n": 1}
    told = json.loads(json_text(rows_), parse_constant=pytest.fail)
    assert told == {"loss": None, "grad_norm": None, "said": ["ok", None], "n": 1}


def test_a_lock_is_no_stranger_in_a_folder(tmp_path):
    """It and its owner's name are hidden, and gone or free when the owner is."""
    with locked(tmp_path / "o", "o"):
        assert all(p.name.startswith(".") for p in (tmp_path / "o").iterdir())
    assert [p.name for p in (tmp_path / "o").iterdir()] == [".lock"]
    assert owner_of(tmp_path / "o") is None and owner_of(Path("nowhere")) is None
