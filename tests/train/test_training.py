"""Real runs of the real trainer on the tiny model: what must not matter does not."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from data.config import load
from data.errors import UserError
from tests.helpers.runs import STEPS, losses, train
from tests.helpers.videos import ROOT
from train.config import TrainConfig


@pytest.fixture(scope="module")
def plain(world, tmp_path_factory):
    """A LoRA run with a checkpoint half-way; others are compared with it."""
    out = tmp_path_factory.mktemp("runs") / "plain"
    train(
        world, out, "train.batch=4", "train.accumulate=1", "train.save_every=2", "lora.dropout=0.1"
    )
    return out


def test_a_run_leaves_what_is_needed_to_use_it(plain):
    names = {p.name for p in plain.iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "frame_policy.json",
        "config.yaml",
        "run.json",
        "metrics.jsonl",
        "processor_config.json",
        "tokenizer.json",
        "base",
    } <= names
    policy = json.loads((plain / "frame_policy.json").read_text())
    assert policy["frames"]["policy"] == "scene" and policy["frames"]["max"] == 6
    assert policy["ask"]["target"] == "timeline" and policy["min_decoded"] == 0.9
    record = json.loads((plain / "run.json").read_text())
    assert record["versions"]["transformers"] and len(record["dataset"]["manifest_sha256"]) == 64
    assert record["results"]["eval_loss_after"] < record["results"]["eval_loss_before"]
    assert load(TrainConfig, [f"recipe={plain}/config.yaml"]).lora.dropout == 0.1


def test_stop_and_resume_is_no_stop(world, plain, tmp_path):
    out = tmp_path / "stopped"
    shutil.copytree(plain, out)
    shutil.rmtree(out / "checkpoint-4")
    for name in (
        "run.json",
        "adapter_model.safetensors",
        "frame_policy.json",
        "adapter_config.json",
    ):
        (out / name).unlink()  # as a run killed after step 2 leaves it
    train(
        world,
        out,
        "train.batch=4",
        "train.accumulate=1",
        "train.save_every=2",
        "lora.dropout=0.1",
        "train.resume=true",
    )
    assert losses(out) == pytest.approx(losses(plain), rel=1e-5)
    a, b = (load_file(f / "adapter_model.safetensors") for f in (plain, out))
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)


@pytest.mark.slow
def test_the_seed_decides_the_adapter(world, tiny_folder, tmp_path):
    """A checkpoint from elsewhere, where nothing was seeded by building it."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(world, tmp_path / name, f"train.seed={seed}", "train.steps=1", base=str(tiny_folder))
        torch.rand(1)
    a, b, c = (load_file(tmp_path / n / "adapter_model.safetensors") for n in "abc")
    first = next(k for k in a if "lora_A" in k)
    assert torch.equal(a[first], b[first]) and not torch.equal(a[first], c[first])


@pytest.mark.slow
def test_a_finished_run_is_moved_aside_not_written_over(world, plain, tmp_path, capsys):
    out = tmp_path / "again"
    shutil.copytree(plain, out)
    train(world, out, "train.steps=1", "data.eval_share=0", method="full")
    (aside,) = tmp_path.glob("again-before-*")
    assert f"is now in {aside}" in capsys.readouterr().out
    assert (aside / "adapter_model.safetensors").read_bytes() == (
        plain / "adapter_model.safetensors"
    ).read_bytes()
    assert (out / "model.safetensors").exists() and not (out / "adapter_config.json").exists()
    with pytest.raises(UserError, match="lies in it"):
        train(world, out, base=str(out))


def test_an_unfinished_run_is_not_started_over(world, plain, tmp_path):
    out = tmp_path / "stopped"
    shutil.copytree(plain, out)
    (out / "run.json").unlink()
    with pytest.raises(UserError, match=r"train\.resume=true"):
        train(world, out)
    with pytest.raises(UserError, match="no run has begun in"):
        train(world, tmp_path / "new", "train.resume=true")


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_only_what_should_train_changes(world, tiny_folder, tmp_path, method):
    out = tmp_path / method
    before = load_file(tiny_folder / "model.safetensors")
    train(world, out, method=method, base=str(tiny_folder))
    assert losses(out)[STEPS] < losses(out)[1]
    after = load_file(tiny_folder / "model.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)  # the base is never written to
    if method == "full":
        after = load_file(out / "model.safetensors")
        changed = {k for k in before if not torch.equal(before[k], after[k])}
        assert changed and not any("vision_model" in k for k in changed)
        assert any("connector" in k for k in changed) and any("text_model" in k for k in changed)
    else:
        adapter = load_file(out / "adapter_model.safetensors")
        assert all("lora" in k and "text_model" in k for k in adapter)
        assert {v.dtype for v in adapter.values()} == {torch.float32}  # not TRL's bf16, on a CPU
        assert all(v.abs().sum() > 0 for k, v in adapter.items() if "lora_B" in k)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_nothing_is_bf16_where_the_card_has_none(world, tmp_path, monkeypatch, method):
    """As on a T4: fp16, trainable weights in fp32, although TRL casts adapters on 4 bits to bf16."""
    from train.model.load import Precision

    kept = []
    monkeypatch.setattr(
        "train.loop.loading.pick_precision", lambda _: Precision("cpu", torch.float16)
    )
    monkeypatch.setattr(
        "train.loop.fit.fit", lambda trainer, **_: (kept.append(trainer.model), {"steps": 0})[1]
    )
    train(world, tmp_path / "a", "data.eval_share=0", method=method)
    weights = dict(kept[0].named_parameters())
    dtypes = {p.dtype for p in [*weights.values(), *kept[0].buffers()]}
    assert torch.bfloat16 not in dtypes and torch.float16 in dtypes
    assert {p.dtype for p in weights.values() if p.requires_grad} == {torch.float32}
    frozen = {p.dtype for p in weights.values() if not p.requires_grad}
    assert frozen == {torch.float16} | ({torch.uint8} if method == "qlora" else set())  # none in 32


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["lora.dora=true", "lora.rslora=true", "lora.targets=all"])
def test_variants_of_the_adapter_learn(world, tmp_path, variant):
    train(world, tmp_path / "a", variant, "data.eval_share=0", "train.accumulate=4")
    assert losses(tmp_path / "a")[STEPS] < losses(tmp_path / "a")[1]


def test_only_matrices_of_an_adapter_decay(world, tmp_path):
    """DoRA's magnitudes are vectors."""
    train(
        world,
        tmp_path / "a",
        "lora.dora=true",
        "optim.weight_decay=0.1",
        "train.steps=1",
        "train.save_every=1",
        "data.eval_share=0",
    )
    groups = torch.load(tmp_path / "a/checkpoint-1/optimizer.pt", weights_only=True)["param_groups"]
    counts = {group["weight_decay"]: len(group["params"]) for group in groups}
    with safe_open(tmp_path / "a/adapter_model.safetensors", "pt") as weights:
        vectors = sum("magnitude" in name for name in weights.keys())  # noqa: SIM118
        assert vectors and counts == {0.1: len(weights.keys()) - vectors, 0.0: vectors}


@pytest.mark.slow
def test_three_learning_rates(world, tmp_path):
    train(
        world,
        tmp_path / "a",
        "optim.lr_vision=1e-4",
        "optim.lr_connector=0",
        "train.steps=1",
        method="full",
    )
    before, after = (load_file(tmp_path / f"a/{f}model.safetensors") for f in ("base/", ""))
    # the first step is warm-up from zero unless warm-up is shorter than a step: compare after it
    train(
        world,
        tmp_path / "b",
        "optim.lr_vision=1e-4",
        "optim.lr_connector=0",
        "optim.warmup=0",
        "train.steps=1",
        "optim.clip=1e6",
        method="full",
    )
    after = load_file(tmp_path / "b/model.safetensors")
    moved = {k: (after[k] - before[k]).abs().max().item() for k in before}
    vision = max(v for k, v in moved.items() if "vision_model" in k)
    language = max(v for k, v in moved.items() if "text_model.layers" in k)
    assert vision == pytest.approx(1e-4, rel=0.05) and language == pytest.approx(1e-3, rel=0.05)
    assert all(v == 0 for k, v in moved.items() if "connector" in k)


def test_a_resumed_run_has_each_step_once(world, plain, tmp_path):
    out = tmp_path / "stopped"
    shutil.copytree(plain, out)
    (out / "checkpoint-4/trainer_state.json").unlink()  # killed while it saved
    (out / "checkpoint-4/optimizer.pt").write_bytes(b"half")
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed while it wrote
    (out / "run.json").unlink()
    train(
        world, out, "train.batch=4", "train.accumulate=1", "lora.dropout=0.1", "train.resume=true"
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert next(row["step"] for row in rows if "eval_loss" in row) == 0


@pytest.mark.slow
def test_a_run_leaves_checkpoints_on_its_way(world, tmp_path):
    """With default keys: a run that Colab cuts off can go on."""
    train(world, tmp_path, "train.steps=21", "train.accumulate=1", "train.keep_checkpoints=9")
    assert {p.name for p in tmp_path.glob("checkpoint-*")} == {
        f"checkpoint-{n}" for n in (10, 20, 21)
    }


def test_a_run_goes_on_with_the_keys_it_began_with(world, plain, tmp_path, capsys):
    out = tmp_path / "stopped"
    shutil.copytree(plain, out)
    shutil.rmtree(out / "checkpoint-4")
    (out / "run.json").unlink()
    how = ["train.batch=4", "train.accumulate=1", "lora.dropout=0.1", "train.resume=true"]
    with pytest.raises(UserError, match=r"lora\.r=4 where it began with 16.*config\.yaml"):
        train(world, out, *how, "lora.r=4")
    train(world, out, *how, "optim.clip=0.5")
    assert "note: resumed with optim.clip=0.5 where it began with 1.0" in capsys.readouterr().out
    assert not load(TrainConfig, [f"recipe={out}/config.yaml"]).train.resume


def test_a_constant_rate_warms_up_too(world, tmp_path):
    train(world, tmp_path, "optim.schedule=constant", "optim.warmup=0.5", "train.accumulate=1")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [row["learning_rate"] for row in rows if "learning_rate" in row]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 1e-3])


def test_loader_workers_need_no_fork(world, processor):
    import pickle

    from train.batches.dataset import Encoder
    from train.sections import DataKeys

    again = pickle.loads(pickle.dumps(Encoder(processor, DataKeys())))
    assert again.keys == DataKeys() and again.processor.image_token_id == processor.image_token_id


def test_a_loss_that_is_no_number_stops_with_the_samples(world, tiny_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the loss is nan on samples world-0-\d{5}"):
        train(world, tmp_path / "out", "data.eval_share=0", base=str(broken))


def test_too_long_and_too_few(world, tmp_path, capsys):
    with pytest.raises(UserError, match="none usable"):
        train(world, tmp_path / "a", "data.max_tokens=64")
    with pytest.raises(UserError, match="leaves nothing"):
        train(world, tmp_path / "b", "data.eval_share=0.99")
    train(world, tmp_path / "c", "data.max_tokens=160", "train.steps=1")
    assert "frames dropped from" in capsys.readouterr().out


def test_a_gradient_that_is_no_number_stops_with_the_samples(world, tiny_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"] *= 1e22  # a finite loss, but the square of a gradient is not
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"step 1: the gradients' norm is inf .*world-0.*no checkpoint was"
    ):
        train(world, tmp_path / "out", "data.eval_share=0", base=str(broken), method="full")


def test_what_is_said_before_step_1(world, tmp_path, capsys):
    train(world, tmp_path / "a", "train.batch=2", "train.accumulate=3", "train.steps=1")
    said = capsys.readouterr().out
    assert "<frame ×4>" in said and "«" in said and "<end_of_utterance>»" in said
    assert "batch 2 × accumulate 3 × 1 device = 6 videos/step, 4 steps/epoch, 1 steps" in said
    assert "parameters train (llm: " in said and "5 samples held out" in said


def test_a_tracker_that_is_not_installed(world, tmp_path, monkeypatch):
    monkeypatch.setattr("train.run.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[trackio\]'"):
        train(world, tmp_path / "a", "log.to=trackio")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "key", "mode"),
    [
        pytest.param("wandb.corp.example", "a" * 40, None, marks=pytest.mark.slow),
        ("api.wandb.ai", "a" * 40, "offline"),
        pytest.param("wandb.corp.example", "no key", "offline", marks=pytest.mark.slow),
    ],
)
def test_wandb_of_ones_own(tmp_path, host, key, mode):
    """A login to the server that is asked counts, one to another does not, and a key that is none is told."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host}\n  login user\n  password {key}\n")
    code = (
        "import wandb; from pathlib import Path; from train.config import LogKeys; from train.run.trackers import tracker_of\n"
        "asked = []; wandb.init = lambda mode, **_: asked.append(mode) or type('Run', (), {'id': 'x', 'dir': '/x/y/files'})\n"  # no server here
        f"tracker_of(LogKeys(to='wandb'), Path({str(tmp_path)!r}), 0, first=True); print('mode', *asked)"
    )
    own = {n: v for n, v in os.environ.items() if not n.startswith("WANDB")}
    own |= {
        "NETRC": str(netrc),
        "WANDB_BASE_URL": "https://wandb.corp.example",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=own, cwd=ROOT
    )
    assert f"mode {mode}" in done.stdout, done.stderr
    assert key not in done.stdout + done.stderr and ("so offline" in done.stdout) == (
        mode is not None
    )


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_trackers(world, tmp_path, capsys, monkeypatch, tracker):
    pytest.importorskip("tensorboard" if tracker == "tensorboard" else "wandb")
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "WANDB_DIR",
        "WANDB_DATA_DIR",
        "WANDB_PROJECT",
        "TENSORBOARD_LOGGING_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in "ab":  # a notebook trains again: each run has its own
        train(world, tmp_path / name, f"log.to={tracker}", "train.steps=1")
        if tracker == "wandb":
            told = capsys.readouterr().out
            (there,) = (tmp_path / name).glob("wandb/offline-run-*")
            assert f"not logged in, so offline; `wandb sync {there}`" in told
            assert len(list(there.glob("*.wandb"))) == 1
        else:
            assert list((tmp_path / name).rglob("events.out.tfevents*"))


@pytest.mark.parametrize(
    ("name", "value", "how", "said"),
    [
        ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3", ["train.method=qlora"], "cannot share out 4-bit"),
        ("ACCELERATE_USE_FSDP", "true", ["eval.generate_every=2"], "FSDP shares them out"),
    ],
)
def test_what_shared_out_weights_cannot_do(world, tmp_path, monkeypatch, name, value, how, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        train(world, tmp_path / "run", *how)


def test_every_accelerate_file_is_one():
    """By accelerate's own reader, which knows its keys."""
    for file in (ROOT / "recipes/accelerate").glob("*.yaml"):
        told = load_config_from_file(str(file))
        assert told.num_processes == 2 and told.mixed_precision == "no"
        assert f"--config_file recipes/accelerate/{file.name} " in file.read_text()
