"""Looking into a prepared dataset: as text and as a page."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.prepared.overview import histogram
from tests.helpers.browser import Browser
from tests.helpers.videos import every, run_command, write_video


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    write_video(folder / "a.mp4", every(0.1, 30))
    nasty = "<script>document.title='taken'</script>"
    rows = [
        {
            "id": nasty,
            "video": "a.mp4",
            "description": nasty,
            "credit": nasty,
            "events": [[0, 2, nasty]],
        },
        {"id": "b", "video": "a.mp4", "events": [[0, 1, "one"], [1, 99, "two"]]},
        {"id": nasty + "2", "video": f"{nasty}.mp4", "description": "x"},
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    argv = ("source=jsonl", f"source.path={folder}/rows.jsonl", f"out={folder}/o", "frames.max=4")
    assert run_command("scripts/prepare.py", *argv).returncode == 0
    return folder / "o"


def test_text_counts_everything(prepared):
    done = run_command("scripts/inspect_dataset.py", f"data.path={prepared}")
    assert done.returncode == 0, done.stderr[-1000:]
    for words in (
        "2 rows of 1 video,",
        "1  missing file",
        "2  jsonl",
        "1  cut at the video's end",
        "words of the answer",
        "seconds of video (median 3)",
        "[00:00 - 00:01] one",
    ):
        assert words in done.stdout, done.stdout
    none = run_command("scripts/inspect_dataset.py", "data.path=nowhere")
    assert none.returncode == 2 and "no prepared dataset there" in none.stderr


@pytest.mark.slow
def test_tokens_are_counted_as_a_checkpoint_does(prepared):
    done = run_command("scripts/inspect_dataset.py", f"data.path={prepared}", "model.name=tiny")
    assert done.returncode == 0, done.stderr[-1000:]
    assert "tokens of a sample, frames and all (median" in done.stdout


def test_the_page_shows_texts_as_texts(prepared, tmp_path):
    page = tmp_path / "look.html"
    done = run_command("scripts/inspect_dataset.py", f"data.path={prepared}", f"page={page}")
    assert done.returncode == 0 and str(page) in done.stdout
    assert "<script>" not in page.read_text() and "&lt;script&gt;" in page.read_text()
    with Browser(tmp_path / "profile") as browser:
        for width in (390, 1200):
            asked = [
                "document.title",
                "document.images.length",
                "[...document.images].every(i => i.complete && i.naturalWidth > 0)",
                "document.documentElement.scrollWidth",
            ]
            opened = browser.open(page, width=width, expressions=asked)
            title, images, loaded, wide = opened.values
            assert opened.problems == [] and title == str(prepared)
            assert images == 8 and loaded and wide <= width, wide


@given(st.lists(st.floats(0, 1e6) | st.integers(0, 10**5), max_size=50))
def test_histograms_count_every_value(values):
    found = histogram("x", values)
    assert sum(found.counts) == len(values) and len(found.counts) <= 14
