"""Cached vision features: the same losses, found only by the model and the frames they were made of."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from data.config import load
from data.errors import UserError
from data.prepared.dataset import Prepared
from tests.helpers.runs import losses, train
from train.batches.cache_features import cache_features
from train.batches.features import stage_of
from train.config import TrainConfig


def keys(world, base, *more):
    argv = [f"model.name={base}", f"data.path={world}", "data.workers=0", "train.vision_batch=4"]
    return load(TrainConfig, [*argv, *more])


def cached(config):
    return cache_features(config, Prepared.open(config.data.path))


@pytest.fixture(scope="module")
def copied(world, tmp_path_factory):
    """A dataset of one's own: caches lie in it."""
    return shutil.copytree(world, tmp_path_factory.mktemp("cached") / "prepared")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "how", "stage"),
    [
        ("lora", ["train.pack=true"], "connector"),
        pytest.param("full", [], "tower", marks=pytest.mark.slow),
        pytest.param(
            "qlora",
            ["lora.targets=llm+connector", "train.batch=2"],
            "tower",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_losses_are_those_without_a_cache(
    copied, tiny_folder, tmp_path, capsys, method, how, stage
):
    folder = cached(keys(copied, tiny_folder, f"train.method={method}", *how))
    assert folder.name.startswith(f"{stage}-")
    more = [
        *how,
        "train.accumulate=2",
        "train.steps=2",
        "data.max_tokens=170",
    ]  # frames are dropped
    train(copied, tmp_path / "a", *more, method=method, base=str(tiny_folder))
    train(copied, tmp_path / "b", *more, "data.features=true", method=method, base=str(tiny_folder))
    one, other = losses(tmp_path / "a"), losses(tmp_path / "b")
    assert list(one) == [1, 2]
    assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-4)
    ends = [json.loads((tmp_path / n / "run.json").read_text())["results"] for n in "ab"]
    assert ends[0]["eval_loss_after"] == pytest.approx(ends[1]["eval_loss_after"], rel=1e-4)


def test_a_killed_run_goes_on_and_says_what_it_will_take(copied, tiny_folder, capsys, monkeypatch):
    config = keys(copied, tiny_folder)
    folder = cached(config)
    before = {p.name: p.read_bytes() for p in folder.glob("*.safetensors")}
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    (folder / "group-000002.unfinished").write_bytes(b"half")
    with pytest.raises(UserError, match="lacks 1 of 3 files"):
        train(copied, copied.parent / "r", "data.features=true", base=str(tiny_folder))
    capsys.readouterr()
    cached(config)
    said = capsys.readouterr().out
    assert "pays from the second epoch on" in said and "GiB are free" in said
    assert {p.name: p.read_bytes() for p in folder.glob("*.safetensors")} == before
    monkeypatch.setattr("os.statvfs", lambda _: type("S", (), {"f_bavail": 1, "f_frsize": 1})())
    gone.unlink()
    with pytest.raises(UserError, match="are free"):
        cached(config)


def test_a_stale_cache_is_not_used(copied, tiny_folder, tmp_path):
    cached(keys(copied, tiny_folder))
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.vision_model.post_layernorm.bias"] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"no features of this model \(\d of another .*cache_features"
    ):
        train(copied, tmp_path / "a", "data.features=true", base=str(other))
    moved = shutil.copytree(copied, tmp_path / "prepared")
    shard = next(moved.glob("*.parquet"))
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(shard), shard, row_group_size=8, compression="gzip")
    with pytest.raises(UserError, match="no features of this model"):
        train(moved, tmp_path / "b", "data.features=true", base=str(tiny_folder))


def test_what_makes_no_sense(copied, tiny_folder):
    for more, message in (
        (["train.method=full", "optim.lr_vision=1e-5"], "optim.lr_vision: the vision tower trains"),
        (["lora.targets=all"], "lora.targets=all"),
    ):
        with pytest.raises(UserError, match=message):
            config = keys(copied, tiny_folder, *more)
            stage_of(config.train.method, config.lora, config.optim)
    with pytest.raises(UserError, match="built for each run"):
        cached(keys(copied, "tiny"))
    with pytest.raises(UserError, match=r"data\.stream"):
        keys(copied, tiny_folder, "data.features=true", "data.stream=true")


@pytest.mark.slow
def test_the_command_and_a_description_while_training(copied, tiny_folder, tmp_path, capsys):
    from tests.helpers.videos import call_command

    done = call_command(
        "scripts/cache_features.py",
        f"model.name={tiny_folder}",
        f"data.path={copied}",
        "data.workers=2",
    )
    assert done.returncode == 0, done.stderr
    assert "train with data.features=true" in done.stdout
    train(
        copied,
        tmp_path / "a",
        "data.features=true",
        "eval.generate_every=2",
        "eval.samples=2",
        "eval.max_new_tokens=8",
        "train.steps=2",
        base=str(tiny_folder),
    )
    assert len((tmp_path / "a/samples.jsonl").read_text().splitlines()) == 4  # before and after
