"""What is loaded is what was saved: its weights have their places, and it says what it said."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.config import load
from data.errors import UserError
from tests.helpers.runs import train
from train.inference import fingerprint
from train.inference.config import MergeConfig
from train.inference.generate import load_run
from train.inference.merge import merge
from train.model import tiny
from train.model.adapter import renaming
from train.run.saved import read_run

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def bases(world, tmp_path_factory):
    """One that has learned to be sure of what it says, and one that knows nothing."""
    folder = tmp_path_factory.mktemp("bases")
    how = ["optim.lr=1e-2", "train.accumulate=1", "train.steps=40", "data.eval_share=0"]
    train(world, folder / "one", *how, method="full")
    return folder / "one", tiny.build(folder / "two", seed=2)


@pytest.fixture(scope="module")
def trained(world, bases, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "adapter"
    train(world, out, "train.steps=2", "lora.targets=all", "data.eval_share=0", base=str(bases[0]))
    return out


def test_it_says_what_it_said(trained):
    """In fp32 as trained, in bf16 and merged alike."""
    run = read_run(trained)
    model, processor = load_run(run)
    kept = fingerprint.read_fingerprint(trained)
    assert kept is not None and fingerprint.distance(kept, model, processor, run.data) < 1e-3
    assert max(map(max, kept.probabilities)) > 0.5  # sure enough to tell
    model.to(torch.bfloat16)
    assert fingerprint.distance(kept, model, processor, run.data) < fingerprint.LIMIT


@pytest.mark.parametrize("force", [False, True])
def test_on_another_base_it_says_something_else(trained, bases, force, tmp_path):
    run = read_run(trained, base=str(bases[1]), force=force)
    argv = [f"adapter={trained}", f"out={tmp_path}/m", f"model.name={bases[1]}", "dtype=fp32"]
    if force:
        load_run(run)
        merge(load(MergeConfig, [*argv, "force=true"]))
    else:
        for again in (lambda: load_run(run), lambda: merge(load(MergeConfig, argv))):
            with pytest.raises(UserError, match=r"does not say what it said.*force=true"):
                again()


def test_the_same_base_elsewhere_is_the_same(trained, bases, tmp_path):
    moved = shutil.copytree(bases[0], tmp_path / "moved")
    load_run(read_run(trained, base=str(moved)))
    old = shutil.copytree(trained, tmp_path / "old")  # of a version that kept no fingerprint
    (old / "fingerprint.json").unlink()
    with pytest.raises(
        UserError, match=r"was trained on .*one, not on model.name=.*moved; force=true"
    ):
        load_run(read_run(old, base=str(moved)))
    load_run(read_run(old, base=str(moved), force=True))


@pytest.mark.slow
def test_a_merged_model_is_asked_too(trained, tmp_path):
    merge(load(MergeConfig, [f"adapter={trained}", f"out={tmp_path}/m", "dtype=fp32"]))
    load_run(read_run(tmp_path / "m"))
    weights = load_file(tmp_path / "m/model.safetensors")
    torch.manual_seed(0)
    spoilt = {
        n: torch.randn_like(w) * w.std() if "lm_head" in n or "embed_tokens" in n else w
        for n, w in weights.items()
    }
    save_file(spoilt, tmp_path / "m/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="does not say what it said"):
        load_run(read_run(tmp_path / "m"))


@pytest.mark.slow
def test_prompts_that_are_made_otherwise(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    policy = json.loads((run / "frame_policy.json").read_text())
    (run / "frame_policy.json").write_text(
        json.dumps({**policy, "ask": {**policy["ask"], "system": "Be brief."}})
    )
    with pytest.raises(UserError, match="its prompts are made otherwise here"):
        load_run(read_run(run))
    (run / "fingerprint.json").write_text('{"answer": [1]}')
    with pytest.raises(UserError, match="not a fingerprint of this version"):
        load_run(read_run(run))


@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_weights_without_a_place_are_an_error(trained, tmp_path, share):
    """As after a library renamed its modules: peft only warns, and the base answers."""
    run = shutil.copytree(trained, tmp_path / "run")
    weights = load_file(run / WEIGHTS)
    names = sorted(n for n in weights if ".text_model." in n)
    old = set(names[: round(share * len(names))])
    renamed = {
        n.replace("model.text_model", "language_model") if n in old else n: w
        for n, w in weights.items()
    }
    save_file(renamed, run / WEIGHTS)
    with pytest.raises(
        UserError,
        match=r"places stay empty; renaming \S*language_model\S*… to \S*model\.text_model",
    ) as told:
        load_run(read_run(run))
    assert f"{len(weights) - len(old)} of its {len(weights)} weights have a place" in str(
        told.value
    )


def test_weights_that_are_missing_are_an_error(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    weights = load_file(run / WEIGHTS)
    weights.pop(sorted(weights)[0])
    save_file(weights, run / WEIGHTS)
    with pytest.raises(UserError, match="1 places stay empty"):
        load_run(read_run(run))


def test_no_renaming_is_better_than_a_wrong_one():
    assert renaming(["a.x.w", "a.y.w"], ["b.x.w", "b.y.w", "b.z.w"]) == ("a", "b")
    assert renaming(["x.w"], ["m.x.w"]) == ("", "m.")
    assert renaming(["a.x.w", "c.y.w"], ["b.x.w", "b.y.w"]) is None
    assert renaming([], ["b.x.w"]) is None and renaming(["a.x.w"], []) is None
