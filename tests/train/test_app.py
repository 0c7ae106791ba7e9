"""The page to try a model: a real browser uploads a clip and reads what the tiny model says of it."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from data.sources import microworld
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
    # the player shows the file before the server has it
    page.wait("(document.querySelector('#video video')?.src || '').includes('/file=')")


def test_a_clip_is_dropped_described_and_sought(served, world, tmp_path):
    clip = sorted((world.parent / "videos").glob("*.mp4"))[1]
    with Browser(tmp_path / "profile") as browser:
        for width in (1200, 390):
            page = browser.page(served, width=width)
            upload(page, clip)
            page.wait("(document.querySelector('#video video')?.readyState || 0) >= 1")
            page.evaluate(GO)
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


GO = "(document.querySelector('#go button') || document.querySelector('#go')).click()"


def test_the_page_is_not_empty_before_the_first_video(served, tmp_path):
    """An example stands there, one click from being described."""
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        page.wait("document.querySelectorAll('#before .frames img').length > 2")
        assert page.evaluate("document.querySelector('#before h3').textContent") == "what happens"
        assert "An example" in page.evaluate("document.querySelector('#before').innerText")
        if SHOTS:
            (ROOT / SHOTS / "app-example.png").write_bytes(page.screenshot())
        page.evaluate(GO.replace("#go", "#example"))
        page.wait("document.querySelector('#answer h3')?.textContent === 'tuned'", 90)
        page.wait("(document.querySelector('#video video')?.readyState || 0) >= 1")
        assert not page.evaluate("!!document.querySelector('#before .frames')?.checkVisibility()")


def test_a_film_is_shown_window_by_window_and_its_subtitles_are_there_to_take(served, tmp_path):
    film = microworld.render(1, 0, tmp_path, (130.0, 150.0))
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        upload(page, film)
        page.wait("(document.querySelector('#video video')?.readyState || 0) >= 1")
        described = page.watch(r"1 of \d windows described")
        page.evaluate(GO)
        page.wait(described, 120)
        page.wait("/frames chosen in/.test(document.querySelector('#answer').innerText) && "
                  "!/windows described/.test(document.querySelector('#answer').innerText)", 120)  # fmt: skip
        last = page.evaluate(
            "[...document.querySelectorAll('#answer .frames button')].at(-1).dataset.seek"
        )
        assert float(last) > 100
        page.evaluate("[...document.querySelectorAll('#answer .frames button')].at(-1).click()")
        page.wait(f"Math.abs(document.querySelector('#video video').currentTime - {last}) < 0.05")
        files = page.evaluate(
            "[...document.querySelectorAll('#answer a[download]')].map(a => [a.download, a.href])"
        )
        contents = {
            name: base64.b64decode(address.split(",")[1]).decode() for name, address in files
        }
        assert set(contents) == {f"{film.stem}.srt", f"{film.stem}.json"}
        told = json.loads(contents[f"{film.stem}.json"])
        assert told["windows"] >= 3 and told["video"] == film.name
        assert contents[f"{film.stem}.srt"].startswith("1\n00:00:")
        if SHOTS:
            page.evaluate("window.scrollTo(0, 0)")
            (ROOT / SHOTS / "app-film.png").write_bytes(page.screenshot())


def test_several_videos_each_have_a_player_and_a_bad_one_is_a_line(served, world, tmp_path):
    clips = sorted((world.parent / "videos").glob("*.mp4"))[:2]
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        page.wait("!!document.querySelector('#go')")
        page.evaluate(
            "[...document.querySelectorAll('button')].find(b => b.innerText.includes('several videos')).click()"
        )
        page.wait("!!document.querySelector('#files input[type=file]')")
        page.give_file("#files input[type=file]", clips[0], tmp_path / "broken.mp4", clips[1])
        page.wait("document.querySelectorAll('#files .file').length === 3 || "
                  "document.querySelector('#files').innerText.includes('broken')")  # fmt: skip
        page.evaluate(GO)
        page.wait("document.querySelectorAll('#answer [data-video]').length === 3", 120)
        page.wait(
            "[...document.querySelectorAll('#answer [data-video] .scenes')].length === 2", 120
        )
        names = page.evaluate(
            "[...document.querySelectorAll('#answer [data-video] h2')].map(h => h.textContent)"
        )
        assert names == [clips[0].name, "broken.mp4", clips[1].name]
        assert "cannot be used" in page.evaluate(
            "document.querySelector('#answer .bad').textContent"
        )
        page.wait("[...document.querySelectorAll('#answer video')].every(v => v.readyState >= 1)")
        last = "[...document.querySelectorAll('#answer [data-video]')].at(-1)"
        time_s = page.evaluate(
            f"[...{last}.querySelectorAll('.frames button')].at(-1).dataset.seek"
        )
        page.evaluate(f"[...{last}.querySelectorAll('.frames button')].at(-1).click()")
        page.wait(f"Math.abs({last}.querySelector('video').currentTime - {time_s}) < 0.05")


def test_what_is_no_video_is_one_line(served, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        page.wait("!!document.querySelector('#go')")
        nothing = page.watch("drop a video first")
        page.evaluate(GO)
        page.wait(nothing)
        upload(page, tmp_path / "broken.mp4")
        unusable = page.watch("this file cannot be used.*")
        page.evaluate(GO)
        said = page.wait(unusable, 120)
        assert "broken.mp4" in said and "Traceback" not in said and "/tmp" not in said


def test_what_cannot_be_served_is_one_line(tmp_path):
    done = run_command("scripts/app.py", f"adapter={tmp_path}/nothing")
    assert done.returncode == 2 and "no such folder" in done.stderr and done.stderr.count("\n") == 1


def test_a_subject_is_marked_by_two_clicks_and_described_alone(served, tmp_path):
    """A longer film: about one subject it is described at once, not window by window."""
    film_s = (70.0, 90.0)  # nothing red is where the line will be
    index = next(i for i in range(99) if microworld.story(5, i, film_s)[0].colour == "blue")
    clip = microworld.render(5, index, tmp_path, film_s=film_s)
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(served, width=1200)
        upload(page, clip)
        page.wait("(document.querySelector('#video video')?.readyState || 0) >= 1")
        page.evaluate("document.querySelector('#subject button').click()")
        page.wait("document.querySelector('#show-frame')?.checkVisibility()")
        page.evaluate("document.querySelector('#show-frame').click()")
        page.wait("(document.querySelector('#frame img')?.naturalWidth || 0) > 0")
        page.evaluate("document.querySelector('#frame').scrollIntoView()")
        source = "document.querySelector('#frame img').src"
        for number, (x, y) in enumerate(((0.3, 0.3), (0.7, 0.8))):
            before = page.evaluate(source)
            box = page.evaluate(
                "(() => { const b = document.querySelector('#frame img').getBoundingClientRect(); "
                "return [b.x, b.y, b.width, b.height]; })()"
            )
            point = {"x": box[0] + x * box[2], "y": box[1] + y * box[3]}
            for kind in ("mousePressed", "mouseReleased"):
                page.call(
                    "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point
                )
            if number:  # the box is drawn
                page.wait(f"{source} !== {json.dumps(before)}")
            else:
                time.sleep(2)
        if SHOTS:
            (ROOT / SHOTS / "app-subject.png").write_bytes(page.screenshot())
        page.evaluate(GO)
        page.wait("document.querySelectorAll('#answer .frames img').length", 120)
        assert "windows" not in page.evaluate("document.querySelector('#answer').innerText")
        first = page.evaluate("document.querySelector('#answer .frames img').src")
        picture = Image.open(io.BytesIO(base64.b64decode(first.split(",", 1)[1]))).convert("RGB")
        width, height = picture.size
        edge = np.asarray(
            picture.crop(
                (round(0.25 * width), round(0.2 * height), round(0.75 * width), round(0.4 * height))
            ),
            int,
        )
        assert ((edge[..., 0] > 150) & (edge[..., 1:].max(axis=2) < 110)).sum() > 20
        assert not page.problems
