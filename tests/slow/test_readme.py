"""The commands of the README and the folders' pages, as they stand there and in their order, wherever no Hub and no GPU is needed.

Only what makes them small is added: the tiny model, fewer steps, short answers.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.videos import PAGES, ROOT, call_command

pytestmark = pytest.mark.slow
ELSEWHERE = (
    "finevideo", "ball-games", "recipe=sources", "you/", "server=", "ray", "judge", "caption.py", "captions/", "app.py", "--config_file", "run.py", "make ",
)  # fmt: skip
"""Wants the Hub, a GPU or a server, is no command of ours, or is a test of its own (the page)."""
SMALL = {
    "train/sft.py": ["model.name=tiny", "data.workers=0", "data.eval_share=0.2", "train.steps=2", "eval.max_new_tokens=8"],
    "scripts/cache_features.py": ["model.name=tiny"],
    "scripts/plan.py": ["search=false"],
    "scripts/train_selector.py": ["steps=4", "subsets=4", "pool=8"],
    "scripts/sample.py": ["margin=0", "generate.max_new_tokens=8", "makers.dropped=1"],
    "train/prefer.py": ["data.workers=0", "data.eval_share=0.2", "train.steps=2"],
    "scripts/describe.py": ["max_new_tokens=8"],
    "adapter=runs/clips": ["generate.max_new_tokens=8", "data.limit=2"],  # of scripts/evaluate.py
}  # fmt: skip


def commands():
    text = "\n".join(page.read_text() for page in PAGES)
    lines = [
        line.split("  #")[0].strip()
        for block in re.findall(r"```bash\n(.*?)```", text, re.S)
        for line in block.splitlines()
    ]
    ours = [x for x in lines if x.startswith(".venv/") and not any(word in x for word in ELSEWHERE)]
    ours = [x for x in ours if "sft.py" not in x or "data.path=" in x]  # else on FineVideo
    return list(dict.fromkeys(ours))


@pytest.fixture(scope="module")
def place(world, tiny_folder, tmp_path_factory):
    """A folder as the README's reader has it: their videos, and our code."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("data", "train", "scripts", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    clips = sorted((world.parent / "videos").glob("*.mp4"))[:12]
    for clip in clips:
        shutil.copy(clip, folder)
    shutil.copy(clips[0], folder / "holiday.mp4")
    (folder / "videos").mkdir()
    for clip in clips[:3]:
        shutil.copy(clip, folder / "videos")
    events = '"events": [[0.0, 1.2, "A bus passes."], [1.2, 3.0, "A man walks between cars."]]'
    rows = [f'{{"video": "{c.name}", "description": "A street scene.", {events}}}' for c in clips]
    (folder / "marks.jsonl").write_text('{"id": "another", "mark": "drop"}\n')
    (folder / "clips.jsonl").write_text("\n".join(rows) + "\n")
    shutil.copytree(tiny_folder, folder / "tiny")
    return folder


def small(command, number, place):
    """The command with what makes it small; a key that it has itself stays as it is."""
    words = (
        re.sub(r"runs/qlora-\S+", "runs/clips", command).replace("subset=200", "subset=4").split()
    )
    more = []
    for mark in (
        "train/sft.py",
        "train/prefer.py",
        "scripts/sample.py",
        "scripts/cache_features.py",
        "scripts/plan.py",
        "scripts/describe.py",
        "scripts/train_selector.py",
    ):
        more += SMALL[mark] if mark in words else []
    if "scripts/evaluate.py" in words and "adapter=runs/clips" in words:
        more = SMALL["adapter=runs/clips"]
    if "train/sft.py" in words:
        more = [*more, f"train.output=runs/{'clips' if 'recipe=qlora' in words else number}"]
    if "prefer.method=grpo" in words:
        more = [*more, "prefer.answers=2", "prefer.max_new_tokens=8"]
    if "features" in command:  # they are of one checkpoint, and `tiny` is built anew for each run
        more = [f"model.name={place}/tiny", *more[1:]]
    if "recipe=long" in words:  # the tiny model has 4 tokens a frame, or 1
        more = [*more, "model.tokens_a_frame=1"]
    if "out=described" in words:  # the run may have been trained again since
        more = [*more, "overwrite=true", "workers=1"]
    have = {w.split("=")[0] for w in words}
    return [*words, *(k for k in more if k.split("=")[0] not in have)]


def test_the_readmes_commands_do_what_they_say(place, monkeypatch):
    """Each script is started as it stands there once; later commands of it save the seconds that its imports take."""
    every = commands()
    assert len(every) >= 18, every
    settings = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "LMUData": ""}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    started = set()
    for number, command in enumerate(every):
        if "predictions=" in command:
            shutil.copy(place / "evals/clips/predictions.json", place / "theirs.json")
            shutil.copy(place / "evals/clips/references.json", place / "truth.json")
        words = small(command, number, place)
        at = next((i for i, word in enumerate(words) if word.endswith(".py")), 0)
        if at and words[at] in started:
            done = call_command(*words[at:])
        else:
            done = subprocess.run(words, capture_output=True, text=True, timeout=600)
        started.add(words[at])
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
    for made in (
        "prepared/videos/manifest.json",
        "runs/clips/adapter_model.safetensors",
        "merged/clips/model.safetensors",
        "evals/clips/report.html",
        "evals/both/report.html",
        "described/index.html",
        "prepared/videos-pairs/pairs.html",
        "prepared/others/dropped.html",
        "runs/preferred/adapter_model.safetensors",
        "runs/grouped/adapter_model.safetensors",
        "preview",
    ):
        assert (place / made).exists(), made


def test_the_stages_are_trained_in_turn(place, monkeypatch):
    lines = re.findall(
        r"^\.venv/\S+ launch (train/sft.py recipe=stages/\S+)",
        (ROOT / "recipes/README.md").read_text(),
        re.M,
    )
    assert len(lines) == 3
    monkeypatch.chdir(place)
    (place / "prepared").mkdir(exist_ok=True)
    made = "scripts/prepare.py source=jsonl source.path=clips.jsonl out=prepared/short"
    small = "data.path=prepared/short data.workers=0 data.eval_share=0.2 train.steps=2"
    first = f"model.name={place}/tiny"
    for line in (made, *(f"{line} {small}" for line in lines)):
        more = [first] if "recipe=stages/1-connector" in line else []
        done = call_command(*line.split(), *more)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    assert "eval_also_loss" in (place / "runs/stage-3/metrics.jsonl").read_text()
    assert (place / "runs/stage-3/adapter_model.safetensors").exists()


def test_the_readmes_python_runs(place):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(code.splitlines()) <= 14
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert " s: " in done.stdout.splitlines()[0]
