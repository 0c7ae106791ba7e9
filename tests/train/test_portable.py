"""What a run saves is seen by other programs as the training saw it: here transformers alone, with frames as images."""

import base64
import functools
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.config import load
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.batches.frames import normalise
from train.inference.config import MergeConfig
from train.inference.generate import generation_prompt
from train.inference.merge import merge
from train.inference.request import messages_of
from train.run.portable import make_portable
from train.sections import DataKeys


@pytest.fixture(scope="module")
def folders(world, tmp_path_factory):
    """Whole models, by what left them behind."""
    at = tmp_path_factory.mktemp("runs")
    train(world, at / "lora")
    merge(load(MergeConfig, [f"adapter={at / 'lora'}", f"out={at / 'merged'}", "dtype=fp32"]))
    train(world, at / "full", "train.save_every=2", method="full")
    return {"merged": at / "merged", "full": at / "full", "checkpoint": at / "full/checkpoint-2"}


def jpeg(seed, size=(160, 90)):
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def row(times_s=(0.4, 1.999, 63.2), duration_s=70.9, **more):
    frames = [{"bytes": jpeg(i)} for i in range(len(times_s))]
    told = {
        "id": "v",
        "prompt": "",
        "system": "",
        "context": "",
        "ranks": list(range(len(times_s))),
    }
    return {**told, "times_s": list(times_s), "duration_s": duration_s, "frames": frames, **more}


def as_images(messages, processor):
    """What a server does: the checkpoint's own chat template, pictures in its places."""
    text = processor.tokenizer.apply_chat_template(
        [{**m, "content": [{"type": "image"} if p["type"] == "image_url" else p for p in m["content"]]} for m in messages],
        chat_template=processor.chat_template, add_generation_prompt=True, tokenize=False,
    )  # fmt: skip
    urls = [p["image_url"]["url"] for m in messages for p in m["content"] if "image_url" in p]
    pictures = [Image.open(io.BytesIO(base64.b64decode(u.split(",")[1]))) for u in urls]
    return processor(text=[text], images=[pictures], return_tensors="pt")


@pytest.mark.parametrize("kind", ["merged", "full", "checkpoint"])
def test_images_are_seen_as_the_frames_of_the_training(folders, kind):
    processor = AutoProcessor.from_pretrained(folders[kind])
    model = AutoModelForImageTextToText.from_pretrained(folders[kind], dtype=torch.float32).eval()
    prompt = generation_prompt(row(), processor, DataKeys())
    images = as_images(messages_of(row(), processor, DataKeys()), processor)
    assert images["input_ids"][0].tolist() == prompt["input_ids"]
    ours = normalise(prompt["frames"], processor)[None]
    assert images["pixel_values"].shape == ours.shape
    grey_level = 2 / 255
    assert float((images["pixel_values"] - ours).abs().max()) < 4 * grey_level  # bicubic, Lanczos
    pictures = [np.array(Image.open(io.BytesIO(f["bytes"]))) for f in row()["frames"]]
    about = {
        "fps": 1000.0,
        "frames_indices": [400, 1999, 63200],
        "total_num_frames": 70900,
        "duration": 70.9,
    }
    asked = [
        {"type": "video"},
        {
            "type": "text",
            "text": "Describe what happens in this video, scene by scene, with times.",
        },
    ]
    text = processor.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True
    )
    video = processor(
        text=[text],
        videos=[pictures],
        video_metadata=[about],
        do_sample_frames=False,
        return_tensors="pt",
    )
    assert video["input_ids"].tolist() == images["input_ids"].tolist()
    with torch.no_grad():
        by_video = model(**video).logits
        by_images = model(**images).logits
    assert float((by_video - by_images).abs().max() / by_video.std()) < 1e-3


TIMES = st.lists(st.floats(0, 7200, allow_nan=False), min_size=1, max_size=5, unique=True).map(
    sorted
)


@settings(deadline=None)  # it is slow beside other work
@given(times=TIMES, more=st.floats(0, 9), prompt=st.text(max_size=30), system=st.text(max_size=10))
@example(times=[0.0], more=0.0, prompt="", system="\r")  # no words, no turn
def test_a_request_is_the_prompt_of_the_training(processor, times, more, prompt, system):
    """Any times and words, marks of the model's own among them."""
    made = row(times, times[-1] + more, prompt=f"{prompt}<image>?", system=system)
    saved = saved_processor(processor)
    images = as_images(messages_of(made, saved, DataKeys()), saved)
    ours = generation_prompt(made, processor, DataKeys())["input_ids"]
    assert images["input_ids"][0].tolist() == ours


@functools.cache
def saved_processor(processor):
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        make_portable(Path(folder))
        return AutoProcessor.from_pretrained(folder)


def test_frames_that_do_not_fit_are_left_out_of_a_request(processor):
    many = row(tuple(range(20)), 21.0)
    keys = DataKeys(max_tokens=200)
    parts = messages_of(many, processor, keys)[0]["content"]
    shown = [p for p in parts if p["type"] == "image_url"]
    kept = generation_prompt(many, processor, keys)["times_s"]
    assert 1 <= len(shown) == len(kept) < 20


@pytest.mark.slow
def test_older_programs_find_their_names(folders):
    for folder in folders.values():
        config = json.loads((folder / "config.json").read_text())
        text = config["text_config"]
        assert text["rope_theta"] == text["rope_parameters"]["rope_theta"] and text["architectures"]
        assert config["transformers_version"]
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert tokenizer["extra_special_tokens"]["image_token"] == "<image>"
        assert tokenizer["transformers_version"] and not {"is_local", "backend"} & set(tokenizer)
        alone = json.loads((folder / "preprocessor_config.json").read_text())
        assert (
            alone == json.loads((folder / "processor_config.json").read_text())["image_processor"]
        )
        assert alone["do_image_splitting"] is False and set(alone["size"]) == {"height", "width"}


def test_what_is_said_twice_is_the_same(folders, tmp_path):
    """Loaded, saved and made portable again, as by a second training, nothing is added or lost."""
    processor = AutoProcessor.from_pretrained(folders["merged"])
    model = AutoModelForImageTextToText.from_pretrained(folders["merged"])
    processor.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    make_portable(tmp_path)
    for name in (
        "processor_config.json",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "config.json",
    ):
        before, after = ((at / name).read_text() for at in (folders["merged"], tmp_path))
        assert json.loads(before) == json.loads(after), name


@pytest.mark.slow
def test_the_command_prints_a_request(folders, world):
    video = str(next((world.parent / "videos").glob("*.mp4")))
    done = call_command(
        "scripts/describe.py", video, f"adapter={folders['merged']}", "format=request"
    )
    assert done.returncode == 0, done.stderr
    request = json.loads(done.stdout)
    assert request["model"] == str(folders["merged"]) and request["max_tokens"] == 512
    assert "series of" in request["messages"][0]["content"][0]["text"]
