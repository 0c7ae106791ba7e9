"""Other programs themselves on a merged model, where they are on this machine; an environment variable says where.

TRANSFORMERS_4  a folder made by `pip install --target FOLDER --no-deps transformers==4.57.6 "huggingface_hub<1"
                "tokenizers==0.22.2"`
VLLM_TRANSFORMERS  the same of the transformers that vLLM asks for (`--no-deps transformers==5.20.2`)
LLAMA_CPP       sources of llama.cpp (they are in llama-cpp-python's source package), built in their folder `build`:
                `cmake -B build && cmake --build build --target llama-mtmd-cli`; `pip install sentencepiece` beside it
VLMEVALKIT      a clone of open-compass/VLMEvalKit
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.config import load
from tests.helpers.runs import train
from train.batches.frames import decode_frames, normalise
from train.bench import random_checkpoint
from train.inference.config import MergeConfig
from train.inference.merge import merge
from train.run.portable import make_portable

pytestmark = pytest.mark.slow

IDS = """
import json, sys, torch, transformers
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1]).float().eval()
text = "<|im_start|>User: Frame 12 from 00:01:<image>\\n\\nDescribe the end.<end_of_utterance>\\nAssistant:"
seen = processor(text=[text], images=[[Image.open(sys.argv[2])]], return_tensors="pt")
ids = seen["input_ids"]
words = ids[ids != model.config.image_token_id][None]
with torch.no_grad():
    said = model(input_ids=words).logits[0, -1]
    shown = model(**seen).logits[0, -1]
print(json.dumps({"version": transformers.__version__, "ids": ids[0].tolist(), "pixels": float(seen["pixel_values"].abs().mean()),
                  "words": said.tolist(), "all": shown.tolist()}))
"""


def place(name):
    if name not in os.environ:
        pytest.skip(f"{name} is not set: see the top of this file")
    return Path(os.environ[name])


@pytest.fixture(scope="module")
def merged(world, tmp_path_factory):
    at = tmp_path_factory.mktemp("runs")
    train(world, at / "lora")
    merge(load(MergeConfig, [f"adapter={at / 'lora'}", f"out={at / 'merged'}", "dtype=fp32"]))
    return at / "merged"


@pytest.fixture(scope="module", params=[64, 16])
def shaped(request, tmp_path_factory):
    """256M's shapes: these programs take a frame's tokens to be a multiple of what tiny has."""
    folder = tmp_path_factory.mktemp("shaped")
    name = "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
    random_checkpoint.build(name, folder, tokens=request.param)
    make_portable(folder)
    told = json.loads((folder / "tokenizer.json").read_text())
    words = told["model"]["vocab"]
    words["ĊĊ"] = words.pop(next(word for word in words if word.startswith("unused")))
    told["model"]["merges"] = [["Ċ", "Ċ"]]  # llama.cpp wants some, and two line ends as one word
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def pictures(tmp_path):
    files = []
    for i, colour in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
        files.append(tmp_path / f"frame-{i}.png")
        picture = Image.new("RGB", (160, 90), colour)
        picture.paste((250, 250, 250), (20 * i, 20, 20 * i + 30, 60))
        picture.save(files[-1])
    return files


def told(merged, picture, *path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", IDS, str(merged), str(picture)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def apart(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    return float((a - b).abs().max() / b.std())


def test_transformers_4_reads_words_as_they_are_meant(merged, pictures):
    """Its vision tower is another one: that is why the card asks for 5.21."""
    ours, theirs = told(merged, pictures[0]), told(merged, pictures[0], place("TRANSFORMERS_4"))
    assert theirs["version"].startswith("4.") and theirs["ids"] == ours["ids"]
    assert abs(theirs["pixels"] - ours["pixels"]) < 1e-2
    assert apart(theirs["words"], ours["words"]) < 1e-4


def test_vllms_transformers_sees_and_says_the_same(shaped, pictures):
    ours, theirs = told(shaped, pictures[0]), told(shaped, pictures[0], place("VLLM_TRANSFORMERS"))
    assert theirs["version"] < "5.21" and theirs["ids"] == ours["ids"]
    assert apart(theirs["all"], ours["all"]) < 1e-4


def test_llama_cpp_takes_a_frame_for_one_tile_and_an_overview(shaped, pictures, tmp_path):
    home = place("LLAMA_CPP")
    convert = (  # random weights come with random words, none that it knows
        "import sys, runpy; home = sys.argv.pop(1); sys.path[:0] = [home, home + '/gguf-py']; from conversion.base import TextModel; "
        "TextModel.get_vocab_base_pre = lambda self, tokenizer: 'smollm'; "
        "sys.argv[0] = home + '/convert_hf_to_gguf.py'; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    for name, more in (("text.gguf", []), ("vision.gguf", ["--mmproj"])):
        done = subprocess.run(
            [sys.executable, "-c", convert, str(home), str(shaped), *more, "--outfile", str(tmp_path / name), "--outtype", "f16"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    shown = [part for picture in pictures for part in ("--image", str(picture))]
    done = subprocess.run(
        [str(home / "build/bin/llama-mtmd-cli"), "-m", str(tmp_path / "text.gguf"), "--mmproj", str(tmp_path / "vision.gguf"),
         *shown, "-p", "a <__media__> b <__media__> c <__media__> d", "-n", "4", "--temp", "0", "-c", "2048", "-v"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(re.findall(r"grid size: 1 x 1 \(1 tiles\) \+ overview", done.stderr)) == len(
        pictures
    )
    assert "<|im_start|>User: a <__media__> b" in done.stderr  # the template of the training


def test_vlmevalkits_own_class_says_what_the_model_says(merged, pictures):
    source = (place("VLMEVALKIT") / "vlmeval/vlm/smolvlm.py").read_text()
    source = source.replace('"cuda"', '"cpu"')  # all it asks of a GPU
    source = source.replace(
        "from ..smp import splitlen", "splitlen = lambda path: len(path.split('/'))"
    )
    source = source.replace("from .base import BaseModel", "BaseModel = object")
    theirs: dict = {}
    exec(compile(source, "smolvlm.py", "exec"), theirs)
    asked = "These are frames of one video.\nDescribe it."
    message = [{"type": "image", "value": str(p)} for p in pictures] + [
        {"type": "text", "value": asked}
    ]
    said = theirs["SmolVLM2"](str(merged), max_new_tokens=12).generate_inner(message, "my_videos")
    processor = AutoProcessor.from_pretrained(merged)
    model = AutoModelForImageTextToText.from_pretrained(merged, dtype=torch.float32)
    frame = f"<fake_token_around_image><global-img>{'<image>' * processor.image_seq_len}<fake_token_around_image>"
    text = f"<|im_start|>User:{frame * len(pictures)}{asked}<end_of_utterance>\nAssistant:"
    side = int(processor.video_processor.max_image_size["longest_edge"])
    frames = normalise(decode_frames([p.read_bytes() for p in pictures], side), processor)
    ids = processor.tokenizer(text, return_tensors="pt")["input_ids"]
    out = model.generate(
        input_ids=ids, pixel_values=frames[None], max_new_tokens=12, do_sample=False
    )
    assert said == processor.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip() != ""
