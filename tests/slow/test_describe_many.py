"""Many videos described: killed again and again, by several processes, and without memory that grows."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers import faults
from tests.helpers.browser import Browser
from tests.helpers.commands import Commands
from tests.helpers.runs import contents, train
from tests.helpers.videos import ROOT, call_command
from train.model import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    base = tiny.build(folder / "base")
    train(world, folder / "lora", "train.steps=1", "data.eval_share=0", base=str(base))
    return folder / "lora"


def results(out):
    return {name: data for name, data in contents(out).items() if not name.startswith("work")}


def records(out):
    return [json.loads(line) for line in (out / "descriptions.jsonl").read_text().splitlines()]


def test_killed_at_every_fortieth_row_among_forty_bad_ones(run, tmp_path, monkeypatch):
    reasons = faults.build(tmp_path / "clips")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clips/stand-in"))
    argv = [
        tmp_path / "clips/rows.jsonl", f"adapter={run}", "max_new_tokens=8", "batch=40", "workers=2",
        "timeout_s=3", "frames.max=4",
    ]  # fmt: skip
    commands = Commands(tmp_path / "server")
    quiet, stormy = tmp_path / "quiet", tmp_path / "stormy"
    assert commands.run("describe", [*argv, f"out={quiet}"])["code"] == 0
    kills = 0
    while commands.run("describe", [*argv, f"out={stormy}"], kill_after_batch=True).get("killed"):
        kills += 1
        assert kills < 40
    commands.close()
    assert kills == 7  # 260 good ones, forty at a time
    assert results(stormy) == results(quiet)
    told = records(stormy)
    assert len(told) == 300
    assert {one["id"]: one["reason"] for one in told if "error" in one} == reasons


def test_two_processes_share_the_answers(run, world, tmp_path):
    clips = sorted((world.parent / "videos").glob("*.mp4"))[:8]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    script = ["scripts/describe.py", *clips, tmp_path / "bad.mp4", f"adapter={run}"]
    keys = ["max_new_tokens=8", "batch=2", "workers=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for more, out in (([], "alone"), (launcher, "both")):
        argv = [sys.executable, *more, *map(str, script), *keys, f"out={tmp_path / out}"]
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 1, done.stderr[-3000:]  # of the bad one
        assert "8 of 9 videos described" in done.stdout + done.stderr
    assert results(tmp_path / "both") == results(tmp_path / "alone")
    # an earlier call's answers are gathered; each of the two gave some
    assert {p.name for p in (tmp_path / "both/work").glob("answers-*")} == {
        "answers-0.jsonl",
        "answers-1.jsonl",
    }


def test_the_page_plays_from_where_one_clicks(run, world, tmp_path):
    clips = sorted((world.parent / "videos").glob("*.mp4"))[:3]
    shutil.copy(clips[0], tmp_path / "it's #1 & 100 %.mp4")
    videos = [tmp_path / "it's #1 & 100 %.mp4", *clips[1:]]
    done = call_command(
        "scripts/describe.py", *map(str, videos), f"adapter={run}", f"out={tmp_path / 'out'}", "max_new_tokens=8",
        "workers=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with Browser(tmp_path / "profile") as browser:
        page = browser.page((tmp_path / "out/index.html").as_uri(), width=1000)
        page.wait("document.querySelectorAll('.card img').length === 3")
        page.wait("document.querySelector('.card img').naturalWidth > 0")
        # in the middle of the frames: from the middle one on
        page.evaluate(
            "(img => img.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: "
            "img.getBoundingClientRect().left + img.clientWidth / 2})))(document.querySelector('.card img'))"
        )
        page.wait("(document.querySelector('.card video')?.readyState || 0) >= 1")
        times = page.evaluate(
            "document.querySelector('.card img').dataset.times.split(' ').map(Number)"
        )
        middle = times[len(times) // 2]
        page.wait(f"document.querySelector('.card video').currentTime >= {middle} - .1")
        page.evaluate(
            "(f => { f.value = '100 %'; f.dispatchEvent(new Event('input')); })(document.querySelector('#find'))"
        )
        assert page.evaluate("document.querySelector('#count').textContent") == "1 of 3"
        assert page.problems == []
