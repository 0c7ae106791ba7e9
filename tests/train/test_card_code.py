"""The card's code for people without this project asks about a video what the training asked, to the last id."""

import re

import pytest
import torch

from data.selection.config import FrameKeys
from tests.helpers.runs import train
from tests.helpers.videos import write_video
from train.batches.frames import normalise
from train.hub.card import model_card
from train.inference.generate import generation_prompt, load_run, processor_of
from train.inference.rows import as_row, windows_or_refuse
from train.run.saved import read_run

METHODS = {
    "lora": [],
    "qlora": [],
    "dora": ["train.method=lora", "lora.dora=true"],
    "fewer tokens": ["train.method=lora", "model.tokens_a_frame=1", "lora.connector=true"],
    "full": [],
}
CLIPS = {
    "late": {"times_s": [i / 10 for i in range(136)], "start_s": 1.4},
    "long last frame": {"times_s": [0, 0.04, 2.5, 6.1, 9.98]},
    "odd rate": {"times_s": [i / 7 for i in range(61)], "rate": 7},
    "uneven": {"times_s": [0.0, 0.3, 0.35, 0.4, 2.0, 2.2, 4.999, 5.0, 7.77], "second_stream": True},
    "sound goes on": {"times_s": [i / 10 for i in range(40)], "sound_s": 7.3},
    "turned": {"times_s": [i / 24 for i in range(50)], "turn": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {name: write_video(folder / f"{name}.mp4", **how) for name, how in CLIPS.items()}


@pytest.fixture(
    scope="module",
    params=[
        "lora",
        "full",
        "fewer tokens",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("qlora", "dora")),
    ],
)
def run(request, world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    more = [*METHODS[request.param], "data.system=You see few frames.", "train.steps=1"]
    method = request.param if request.param in ("lora", "qlora", "full") else "lora"
    train(world, out, *more, method=method)
    return out


def code_of(run, video):
    code = model_card(run, str(run)).split("```python\n")[1].split("```")[0]
    code = re.sub(r"snapshot_download\(.*?\) \+", f"{str(run)!r} +", code)  # it is here already
    return code.replace("holiday.mp4", str(video)).replace("max_new_tokens=512", "max_new_tokens=2")


def test_its_ids_are_ours(run, clips):
    saved = read_run(run)
    processor = processor_of(saved)
    keys = FrameKeys(policy="uniform", max=saved.frames.max)
    for name, video in clips.items():
        theirs: dict = {}
        exec(code_of(run, video), theirs)
        (kept,) = windows_or_refuse(str(video), keys)
        ours = generation_prompt(as_row(str(video), kept), processor, saved.data)
        assert theirs["inputs"]["input_ids"][0].tolist() == ours["input_ids"], name
        pixels = theirs["inputs"]["pixel_values"][0].float()
        assert float((pixels - normalise(ours["frames"], processor)).abs().mean()) < 0.05, name


def test_its_answers_are_ours(run, clips):
    theirs: dict = {}
    exec(code_of(run, clips["odd rate"]), theirs)
    model, _ = load_run(read_run(run))
    with torch.inference_mode():
        a, b = (m(**theirs["inputs"]).logits for m in (theirs["model"], model))
    assert float((a - b).abs().max() / b.std()) < 1e-4


def test_it_says_first_that_transformers_is_too_old(run, clips, monkeypatch):
    from transformers.utils import versions

    monkeypatch.setattr(versions.importlib.metadata, "version", lambda name: "5.20.0")
    with pytest.raises(
        ImportError, match=r"transformers>=5\.21\.1,<6 is required .* found transformers==5\.20\.0"
    ):
        exec(code_of(run, clips["odd rate"]), {})
