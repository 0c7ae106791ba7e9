"""What people call from Python, as README and docstrings say."""

import doctest
import json
import shutil
import subprocess
import sys

import pytest

import data
import train as package
from data import choose_frames, open_prepared, prepare
from data.errors import UserError
from data.video.info import BadVideo
from data.video.video import Video
from tests.helpers.runs import train
from tests.helpers.videos import ROOT, every, write_video
from train import describe, evaluate, load_run


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("api") / "run"
    train(world, out, "train.steps=1")
    return out


def test_importing_the_packages_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import data, train; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} & {'torch', 'numpy', 'av', 'pydantic', 'transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert set(data.__all__) == {"choose_frames", "open_prepared", "prepare"}
    assert set(package.__all__) == {"describe", "evaluate", "load_run"}
    with pytest.raises(AttributeError, match=r"no attribute 'chose_frames'; it has choose_frames"):
        data.chose_frames  # noqa: B018


def test_the_docstrings_examples(run, world, tmp_path, monkeypatch):
    """Where they say holiday.mp4, clips.jsonl, prepared/videos and runs/clips, there are such."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(world.parent / "videos/world-0-00001.mp4", "holiday.mp4")
    row = {"video": "holiday.mp4", "events": [[0, 1.2, "A bus passes."]]}
    (tmp_path / "clips.jsonl").write_text(json.dumps(row) + "\n")
    for name, there in (("prepared/videos", world), ("runs/clips", run)):
        (tmp_path / name).parent.mkdir()
        shutil.copytree(there, name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    known = {name: getattr(data, name) for name in data.__all__}
    known |= {name: getattr(package, name) for name in package.__all__} | {"Video": Video}
    told = []
    order = ("choose_frames", "prepare", "open_prepared", "load_run", "describe", "evaluate")
    assert set(order) == {*data.__all__, *package.__all__}
    for name in (*order, "Video"):
        found = doctest.DocTestFinder(recurse=False).find(known[name], name, globs=known)
        assert any(one.examples for one in found), f"{name}: no example"
        for one in sorted(found, key=lambda one: one.lineno):
            runner.run(one, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


def test_frames_of_a_video(tmp_path):
    path = write_video(tmp_path / "v.mp4", every(0.1, 40))
    frames = choose_frames(path, "uniform", max=4, options={"px": 48})
    assert frames.times_s == pytest.approx((0.5, 1.5, 2.5, 3.5), abs=0.11) and len(frames) == 4
    assert repr(frames).startswith("ChosenFrames(4 frames of 4.0 s: 0.")
    assert [image.height for image in frames.images()] == [48] * 4
    html = frames._repr_html_()
    assert html.count("data:image/jpeg;base64,") == 4 and html.count("<title>frame at ") == 4
    for given, words in (
        ({"policy": "unifrm"}, "'unifrm' is no policy, did you mean 'uniform'"),
        ({"options": {"pxx": 3}}, "pxx: no such key"),
        ({"options": {"fps": 2}}, "no key of policy=scene"),
        ({"max": 0}, "max: "),
    ):
        with pytest.raises(UserError, match=words) as error:
            choose_frames(path, **given)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(BadVideo) as error:
        choose_frames(tmp_path / "none.mp4")
    assert error.value.reason == "missing file"


def test_a_dataset(tmp_path):
    write_video(tmp_path / "a.mp4", every(0.1, 20))
    row = {"video": "a.mp4", "description": "A clip.", "events": [[0, 1, "a start"]]}
    (tmp_path / "clips.jsonl").write_text(json.dumps(row) + "\n")
    made = prepare(tmp_path / "clips.jsonl", tmp_path / "p", max=3, workers=1)
    assert made.manifest["rows"] == 1 and made.rows()[0]["events"][0]["text"] == "a start"
    assert open_prepared(tmp_path / "p").sha256 == made.sha256
    with pytest.raises(UserError, match="is no source"):
        prepare({"name": "finvideo"}, tmp_path / "q")


def test_a_run_describes_and_is_scored(run, world, tmp_path):
    loaded = load_run(run)
    assert repr(loaded).startswith(f"Run('{run}': an adapter on ") and "at most 6 frames" in repr(
        loaded
    )
    video = world.parent / "videos/world-0-00000.mp4"
    said = describe(loaded, video, max_new_tokens=8)
    assert said.text and said.cut and len(said.frames) <= 6
    html = said._repr_html_()
    assert "data:image/jpeg" in html and "<script" not in html
    scores = evaluate(world, run, tmp_path / "e", base=True, limit=2, max_new_tokens=8)
    assert set(scores.figures) == {"base", "tuned"} and scores.report.is_file()
    figure = scores["tuned"]["soda_c"]
    assert figure.low <= figure.value <= figure.high
    assert "<th>tuned</th>" in scores._repr_html_() and "[" in scores._repr_html_()
