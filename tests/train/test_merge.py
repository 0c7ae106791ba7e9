"""An adapter merged into its base says the same, to our commands and to plain transformers."""

import json
import subprocess
import sys

import pytest
import torch

from data.config import load
from data.errors import UserError
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.hub.push import files_to_push
from train.inference.config import MergeConfig
from train.inference.merge import merge

PLAIN = """
import sys, torch
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1], dtype=torch.float32)
processor = AutoProcessor.from_pretrained(sys.argv[1])
print(type(model).__name__, type(processor).__name__, sum(p.numel() for p in model.parameters()))
assert not any("lora" in name for name, _ in model.named_parameters())
"""


@pytest.fixture(scope="module", params=["lora", "qlora"])
def trained(request, world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    more = ["lora.dora=true", "lora.targets=all"] if request.param == "lora" else []
    train(world, out, "optim.lr=5e-2", "train.accumulate=1", *more, method=request.param)
    return out


def merged(run, out, *more):
    return merge(load(MergeConfig, [f"adapter={run}", f"out={out}", *more]))


def test_merged_is_unmerged(trained, tmp_path, capsys):
    found = merged(trained, tmp_path / "m", "dtype=fp32")
    assert found.difference < 1e-4 and found.rounded == found.difference and found.same_words == 1
    assert "differ by" in capsys.readouterr().out
    record = json.loads((tmp_path / "m/run.json").read_text())
    assert record["merged"] and not (tmp_path / "m/adapter_config.json").exists()
    assert "fine-tuning, merged, of" in files_to_push(tmp_path / "m", "you/m")["README.md"].decode()


@pytest.mark.slow
def test_the_folder_is_all_that_anybody_needs(trained, world, tmp_path):
    merged(trained, tmp_path / "m", "dtype=fp32")
    video = str(next((world.parent / "videos").glob("*.mp4")))
    said = [
        call_command("scripts/describe.py", video, f"adapter={name}", "max_new_tokens=16", "format=json", "model.dtype=fp32")
        for name in (trained, tmp_path / "m")
    ]  # fmt: skip
    assert all(one.returncode == 0 for one in said), said[1].stderr[-2000:]
    assert json.loads(said[0].stdout) == json.loads(said[1].stdout)
    plain = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "m")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert plain.returncode == 0, plain.stderr[-2000:]
    assert plain.stdout.startswith("SmolVLMForConditionalGeneration SmolVLMProcessor")
    half = merged(trained, tmp_path / "half")
    assert 0 < half.rounded < 1 and (tmp_path / "half/preprocessor_config.json").is_file()
    assert (tmp_path / "half/model.safetensors").stat().st_size < 0.6 * (
        tmp_path / "m/model.safetensors"
    ).stat().st_size


def test_what_cannot_be_merged_is_one_line(trained, tiny_folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/keep.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        merged(trained, tmp_path / "full")
    with pytest.raises(UserError, match="is a whole model already"):
        merged(tiny_folder, tmp_path / "m")
    with pytest.raises(UserError, match="no such folder"):
        merged(tmp_path / "nothing", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_adapter_of_another_model_is_refused(trained, tiny_folder, tmp_path):
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    shape = SmolVLMConfig.from_pretrained(tiny_folder)
    shape.text_config.intermediate_size *= 2
    other = tmp_path / "other"
    SmolVLMForConditionalGeneration(shape).to(torch.float32).save_pretrained(other)
    with pytest.raises(UserError, match=r"does not fit model\.name=.*other"):
        merged(trained, tmp_path / "m", f"model.name={other}")
