"""The page people look at: in a real browser, with texts that try to break it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import Browser
from tests.helpers.videos import every, run_command, write_video

EVIL = "</td><script>console.error('run')</script><img src=x onerror=\"console.error('run')\"> $x$"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page and a picture of one video with hostile labels, by the command."""
    folder = tmp_path_factory.mktemp("preview")
    video = write_video(folder / "a <b>bold & $tale$.mp4", every(0.1, 60), sound_s=1.0)
    rows = [
        {"video": video.name, "description": EVIL, "events": [[0.0, 2.0, EVIL], [2.0, 6.0, "ünï"]]}
    ]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for form in ("html", "png"):
        done = run_command(
            "scripts/preview.py",
            str(video),
            "frames.policy=scene,uniform,correlation",
            "frames.max=6",
            f"labels={folder / 'labels.jsonl'}",
            f"out={folder / 'out'}",
            f"format={form}",
            f"json={folder / 'figures.json'}",
        )
        assert done.returncode == 0, done.stderr
    return folder, next((folder / "out").glob("*.html"))


def test_a_real_browser_shows_everything_and_runs_nothing(made, tmp_path):
    _, page = made
    with Browser(tmp_path) as browser:
        for width in (390, 1200):
            opened = browser.open(
                page,
                width=width,
                expressions=[
                    "document.images.length",
                    "[...document.images].every(i => i.complete && i.naturalWidth > 0)",
                    "document.documentElement.scrollWidth",
                    "document.body.innerText",
                    "document.querySelectorAll('script').length",
                    "document.querySelectorAll('svg').length",
                ],
            )
            count, loaded, wide, text, scripts, drawings = opened.values
            assert opened.problems == []
            assert 9 <= count <= 18 and loaded and scripts == 0 and drawings == 1
            assert wide <= width, "the page scrolls sideways"
            assert EVIL in text and "ünï" in text and "a <b>bold & $tale$.mp4" in text
            shot = np.asarray(Image.open(io.BytesIO(opened.screenshot)).convert("L"))
            assert shot.shape[1] == width and shot.std() > 10  # something is drawn


def test_the_page_needs_nothing_from_outside(made):
    _, page = made
    text = page.read_text()
    assert "<script" not in text and "onerror=&#34;" in text
    for outside in ('src="http', 'href="http', "url(http", "@import"):
        assert outside not in text.replace("http://www.w3.org", "")


def test_figures_and_picture(made):
    folder, page = made
    (figures,) = json.loads((folder / "figures.json").read_text()).values()
    assert list(figures) == ["scene", "uniform", "correlation"]
    assert figures["uniform"]["frames"] == 6 and figures["uniform"]["events shown"] == 1.0
    picture = Image.open(page.with_suffix(".png"))
    assert picture.width > 800 and picture.height > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "videos: missing"),
        (["nowhere.mp4"], "missing file: nowhere.mp4: no such file"),
        (["a.mp4", "frames.policy=scene,sceen"], "sceen"),
        (["a.mp4", "frames.policy=uniform,embedding"], "needs frames.encoder"),
        (["a.mp4", "labels=nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_refusals(arguments, message, tmp_path):
    done = run_command("scripts/preview.py", *arguments, f"out={tmp_path / 'out'}")
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 3
