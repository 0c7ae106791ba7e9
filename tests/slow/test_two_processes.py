"""Two processes on the CPU (gloo): the same losses as one, another number of them after a resume, a killed one."""

import json
import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.helpers.processes import alone, forked, launched, start
from tests.helpers.runs import losses
from tests.helpers.videos import ROOT
from train.inference.generate import load_run
from train.run.saved import read_run

pytestmark = pytest.mark.slow
FEWER = ("model.tokens_a_frame=1", "lora.connector=true")


def held_out(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row["eval_loss"] for row in rows if "eval_loss" in row]


@pytest.mark.parametrize("how", [[], ["train.pack=true", "train.pack_tokens=450"], list(FEWER)])
def test_two_processes_have_the_losses_of_one(world, tmp_path, server, how):
    alone(world, tmp_path / "one", *how)
    two = 2, world, tmp_path / "two", *how
    said = forked(server, *two) if how else launched(*two)
    assert "× 2 devices" in said and said.count("held-out completion loss") == 1
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == [1, 2, 3, 4]
    assert list(one.values()) == pytest.approx(list(two.values()), rel=1e-4)
    assert held_out(tmp_path / "one") == pytest.approx(held_out(tmp_path / "two"), rel=1e-4)


def test_held_out_figures_do_not_follow_from_how_videos_are_dealt(world, tmp_path, server):
    """Five videos by two on two processes: three are seen twice, beside others, and count once."""
    alone(world, tmp_path / "one", batch=1)
    alone(world, tmp_path / "pairs", batch=2)
    forked(server, 2, world, tmp_path / "two", batch=2)
    before = [held_out(tmp_path / n)[0] for n in ("one", "pairs", "two")]
    assert before == pytest.approx([before[0]] * 3, rel=1e-6)  # of the same weights
    assert held_out(tmp_path / "pairs") == pytest.approx(held_out(tmp_path / "two"), rel=1e-5)


def test_a_killed_process_ends_the_run_which_resumes_on_one(world, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "killed"
    alone(world, whole, "train.save_every=2", steps=6)
    process = start(2, world, out, "train.save_every=2", steps=6)
    deadline = time.monotonic() + 200
    while not (out / "checkpoint-2/trainer_state.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][
            -2000:
        ]
        time.sleep(0.02)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode != 0 and "Signal 9" in errors) or "SIGKILL" in errors
    assert not (out / "run.json").exists()
    alone(world, out, "train.save_every=2", "train.resume=true", steps=6)
    assert list(losses(out).values()) == pytest.approx(list(losses(whole).values()), rel=1e-4)


def settings(file):
    """What `accelerate launch --config_file` hands to its processes."""
    given = yaml.safe_load((ROOT / "recipes/accelerate" / file).read_text())["fsdp_config"]
    return {
        "ACCELERATE_USE_FSDP": "true",
        **{
            {"FSDP_TRANSFORMER_LAYER_CLS_TO_WRAP": "FSDP_TRANSFORMER_CLS_TO_WRAP"}.get(
                name, name
            ): str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in ((key.upper(), value) for key, value in given.items())
        },
    }


@pytest.mark.parametrize(
    ("method", "more"),
    [("lora", ()), ("qlora", ()), ("full", ()), ("lora", FEWER), ("full", FEWER[:1])],
)
def test_shards_train_alike_and_one_process_loads_them(world, tmp_path, server, method, more):
    """The head's gradients too, which trl's fused head and accelerate's groups would leave apart."""
    how = [f"train.method={method}", "train.save_every=2", *more]
    alone(world, tmp_path / "one", *how)
    said = forked(
        server, 2, world, tmp_path / "two", *how, script="tests/slow/sharded.py", **settings("fsdp2.yaml")
    )  # fmt: skip
    assert said.count("in {'DTensor'}") == 2 and "trained as FSDP" in said
    assert said.count("whole on each device: 0 numbers") == 2
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one.values()) == pytest.approx(
        list(two.values()), rel=1e-3 if method == "qlora" else 1e-4
    )
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    a, b = (load_file(tmp_path / n / name) for n in ("one", "two"))
    assert a.keys() == b.keys() and all(a[k].shape == b[k].shape for k in a)
    if method != "qlora":
        assert all(torch.allclose(a[k], b[k], atol=2e-3) for k in a)
    model, _ = load_run(read_run(tmp_path / "two"))
    assert sum(p.numel() for p in model.parameters()) > 7e5
