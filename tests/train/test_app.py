"""The page to try a model: a real browser uploads a clip and reads what the tiny model says of it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.helpers.browser import Browser
from tests.helpers.runs import train
from tests.helpers.videos import ROOT, run_command

pytestmark = pytest.mark.slow
SHOTS = os.environ.get("SCENESCRIBE_SHOTS")
"""A folder for pictures of the page, to look at."""


@pytest.fixture(scope="module")
def served(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    train(
        world,
        folder / "run",
        "train.steps=60",
        "train.batch=4",
        "train.accumulate=1",
        "optim.lr=5e-3",
        method="full",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "scripts/app.py", f"adapter={folder}/run", f"port={port}", "max_new_tokens=80", "max_mb=1"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "NO_PROXY": "127.0.0.1,localhost"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    end = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(url, timeout=2)
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
            time.sleep(0.5)
    yield url
    process.terminate()
    process.wait(20)


def upload(page, path):
    page.wait("!!document.querySelector('#video input[type=file]')")
    page.give_file("#video input[type=file]", path)


def test_a_clip_is_dropped_described_and_sought(served, world, tmp_path):
    clip = sorted((world.parent / "videos").glob("*.mp4"))[1]
    with Browser(tmp_path / "profile") as browser:
        for width in (1200, 390):
            page = browser.page(served, width=width)
            upload(page, clip)
            page.wait("(document.querySelector('#video video')?.readyState || 0) >= 1")
            page.evaluate(
                "(document.querySelector('#go button') || document.querySelector('#go')).click()"
            )
            page.wait("document.querySelectorAll('#answer .frames img').length", 90)
            assert page.evaluate(
                "[...document.querySelectorAll('#answer h3')].map(h => h.textContent)"
            ) == ["tuned", "base", "6 frames, scene"]
            assert page.evaluate(
                "[...document.querySelectorAll('#answer img')].every(i => i.naturalWidth > 0)"
            )
            last = page.evaluate(
                "[...document.querySelectorAll('#answer .frames button')].at(-1).dataset.seek"
            )
            page.evaluate("[...document.querySelectorAll('#answer .frames button')].at(-1).click()")
            page.wait(
                f"Math.abs(document.querySelector('#video video').currentTime - {last}) < 0.05"
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if SHOTS:
                page.evaluate("window.scrollTo(0, 0)")
                (ROOT / SHOTS / f"app-{width}.png").write_bytes(page.screenshot())


def test_what_is_no_video_is_one_line(served, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        page.wait("!!document.querySelector('#go')")
        page.evaluate(
            "(document.querySelector('#go button') || document.querySelector('#go')).click()"
        )
        page.wait("document.body.innerText.includes('drop a video first')")
        upload(page, tmp_path / "broken.mp4")
        page.wait("!!document.querySelector('#video video')")
        page.evaluate(
            "(document.querySelector('#go button') || document.querySelector('#go')).click()"
        )
        said = page.wait("(document.body.innerText.match(/this file cannot be used.*/) || [''])[0]")
        assert "broken.mp4" in said and "Traceback" not in said and "/tmp" not in said


def test_what_cannot_be_served_is_one_line(tmp_path):
    done = run_command("scripts/app.py", f"adapter={tmp_path}/nothing")
    assert done.returncode == 2 and "no such folder" in done.stderr and done.stderr.count("\n") == 1
