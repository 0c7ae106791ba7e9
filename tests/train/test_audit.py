"""The audit of labels: what frames are worth to a model, which rows are doubtful, marks that curation follows."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from data.config import load
from data.curation.command import curate
from data.curation.config import CurateConfig
from data.errors import UserError
from data.prepared.dataset import Prepared
from data.target import span
from tests.helpers.browser import Browser
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.audit.command import LIST, LOSSES, PAGE, audit
from train.audit.config import AuditConfig
from train.audit.page import write_page_of
from train.audit.rank import doubts
from train.batches.swapped import GREY, others_of
from train.inference import worth
from train.inference.answer_loss import Case, Describer
from train.inference.worth import Worth, moved, of_times, worths
from train.run.saved import read_run
from train.sections import DataKeys


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("audit")
    train(world, place / "run")
    return place / "run"


def keys(run, world, out, *argv):
    return load(AuditConfig, [f"run={run}", f"data.path={world}", f"out={out}", *argv])


# --- which rows are doubtful -------------------------------------------------------------------


def row(
    name,
    own=1.0,
    blank=2.0,
    other=3.0,
    away=1.2,
    moved_s=2.0,
    times=1.5,
    fit=0.4,
    tokens=50,
    length_s=9.0,
):
    return Worth(name, own, blank, other, away, moved_s, times, fit, tokens, length_s)


def test_what_sticks_out_comes_first_with_its_reason():
    rng = np.random.default_rng(0)
    usual = [
        row(f"{i:02d}", *(np.array([1, 2, 3, 1.2]) + rng.normal(0, 0.05, 4)).tolist())
        for i in range(40)
    ]
    wrong = [
        row("blank", own=2.2, other=3.1, away=2.4),
        row("another", own=2.0, blank=2.6, other=1.9, away=2.2),
        row("late", own=1.1, away=0.4, moved_s=-2.0),
        row("times", times=2.5),
        row("elsewhere", fit=-0.2),
    ]
    found = doubts([*usual[:20], *wrong, *usual[20:]])
    assert {one.worth.id for one in found[:5]} == {one.id for one in wrong}
    reasons = {one.worth.id: one.reason for one in found[:5]}
    assert "change elsewhere" in reasons["elsewhere"]
    assert "worth -0.20 nats" in reasons["blank"]
    assert "of another video" in reasons["another"] and "2 s earlier" in reasons["late"]
    assert "expects other times (2.50 nats" in reasons["times"]
    assert min(one.deviations for one in found[:5]) > 3 > max(one.deviations for one in found[10:])


def test_times_that_have_nothing_to_do_with_pictures_say_nothing():
    fits = np.random.default_rng(0).permutation(np.linspace(-0.5, 0.5, 50))
    worths = [row(f"{i:02d}", own=1 + i / 100, fit=fit) for i, fit in enumerate(fits.tolist())]
    without = doubts([dataclasses.replace(one, fit=None) for one in worths])
    assert [one.deviations for one in doubts(worths)] == [one.deviations for one in without]


def test_losses_are_compared_with_those_of_texts_as_long():
    """The times of a long video are hard to tell; those of a short one that are as hard stand out."""
    rng = np.random.default_rng(1)
    usual = [
        row(
            f"{i:02d}", own=1 + s / 20 + e, times=2 + s / 10 + e, tokens=int(20 + 3 * s), length_s=s
        )
        for i, (s, e) in enumerate(
            zip(rng.uniform(4, 40, 60), rng.normal(0, 0.05, 60), strict=True)
        )
    ]
    hard = max(usual, key=lambda one: one.length_s)
    short = dataclasses.replace(hard, id="short", tokens=35, length_s=5.0)
    found = doubts([*usual, short])
    assert found[0].worth.id == "short" and found[0].deviations > 2 * found[1].deviations


@settings(max_examples=50)
@given(st.lists(st.floats(0, 9), max_size=12))
def test_every_row_is_ranked(losses):
    worths = [row(str(i), own=loss, fit=loss / 9 - 0.5) for i, loss in enumerate(losses)]
    found = doubts(
        [
            *worths,
            *(row(f"untimed {i}", v, 1, 1, None, 0, None, None) for i, v in enumerate(losses)),
        ]
    )
    assert len(found) == 2 * len(losses)
    far = [one.deviations for one in found]
    assert far == sorted(far, reverse=True) and np.isfinite(far).all()


def test_events_are_moved_within_the_window():
    one = {
        "start_s": 10.0,
        "end_s": 20.0,
        "events": [{"start_s": 11.0, "end_s": 19.0, "text": "x"}],
    }
    assert moved(one, 4.0)["events"] == [{"start_s": 15.0, "end_s": 20.0, "text": "x"}]
    assert moved(one, -4.0)["events"] == [{"start_s": 10.0, "end_s": 15.0, "text": "x"}]
    gone = moved({**one, "events": [{"start_s": 10.0, "end_s": 12.0, "text": "x"}]}, -4.0)["events"]
    assert gone == [{"start_s": 10.0, "end_s": 10.5, "text": "x"}]


# --- losses ------------------------------------------------------------------------------------


def test_losses_are_those_of_the_frames_they_name(run, world):
    describer = Describer.load(read_run(run))
    rows = Prepared.open(world).rows().select(range(3))
    found = list(worths(describer, rows, rows["video_id"], batch=3))
    assert [one.id for one in found] == rows["id"]

    def loss(row, jpegs):
        every = tuple(range(len(jpegs)))
        return float(describer.losses([Case(row, describer.features(jpegs), every)])[0])

    jpegs = [[frame["bytes"] for frame in row["frames"]] for row in rows]
    count = len(rows[1]["times_s"])
    spread = np.linspace(0, len(jpegs[0]) - 1, count).round().astype(int)
    assert found[1].own == pytest.approx(loss(rows[1], jpegs[1]), abs=1e-5)
    assert found[1].other == pytest.approx(loss(rows[1], [jpegs[0][k] for k in spread]), abs=1e-5)
    (last,) = worths(describer, rows, rows["video_id"], batch=2, start=2)
    assert (last.id, last.moved_s) == (found[2].id, found[2].moved_s)
    assert last.other == pytest.approx(found[2].other, abs=1e-5)


def test_times_have_losses_of_their_own(run, world):
    """Those of the tokens between its digits and of none of its words."""
    describer = Describer.load(read_run(run))
    first = Prepared.open(world).rows()[0]
    (found,) = worths(describer, [first], [first["video_id"]], batch=4)
    features = describer.features([frame["bytes"] for frame in first["frames"]])
    (answer,) = describer.token_losses([Case(first, features, tuple(range(len(features))))])
    tokenizer = describer.processor.tokenizer
    timed = of_times(answer.ids.tolist(), tokenizer)
    said = [tokenizer.decode([i]).strip() for i, t in zip(answer.ids, timed, strict=True) if t]
    events = [span(e["start_s"], e["end_s"]) for e in first["events"]]
    assert "".join(said) == "".join(t for pair in events for t in pair)
    assert found.times == pytest.approx(float(answer.losses[timed].mean()), abs=1e-5)
    assert found.tokens == len(answer.ids) and found.length_s == first["end_s"]


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_the_other_video_is_another_one_nearby(videos):
    found = others_of(videos)
    assert len(found) == len(videos)
    for i, other in enumerate(found):
        before = [k for k in range(i) if videos[k] != videos[i]]
        later = [k for k in range(i, len(videos)) if videos[k] != videos[i]]
        assert other == (before[-1] if before else later[0] if later else i)


def test_grey_frames_are_worth_nothing(run, world):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (GREY, GREY, GREY)).save(buffer, "PNG")
    grey = {"bytes": buffer.getvalue()}
    rows = [
        {**row, "frames": [grey] * len(row["times_s"])}
        for row in Prepared.open(world).rows().select(range(3))
    ]
    videos = [row["video_id"] for row in rows]
    for one in worths(Describer.load(read_run(run)), rows, videos, batch=4):
        assert one.worth == pytest.approx(0, abs=1e-5) and one.other == pytest.approx(
            one.own, abs=1e-5
        )


# --- the command -------------------------------------------------------------------------------


def test_an_audit_that_is_killed_goes_on_and_its_marks_are_followed(
    run, world, tmp_path, monkeypatch
):
    record = audit(keys(run, world, tmp_path / "whole", "least=0.5", "limit=6"))
    lines = (tmp_path / "whole" / LOSSES).read_text().splitlines()
    assert len(lines) == 6 and record["worth_low"] <= record["worth"] <= record["worth_high"]
    listed = [json.loads(line) for line in (tmp_path / "whole" / LIST).open()]
    assert len(listed) == record["listed"] > 0
    page = (tmp_path / "whole" / PAGE).read_text()
    assert page.count('<article class="card"') == len(listed) and "nats a token" in page

    real = worth.worths

    def killed(*given, **more):
        for number, one in enumerate(real(*given, **more)):
            if number == 3:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(worth, "worths", killed)
    argv = ("least=0.5", "limit=6")
    with pytest.raises(KeyboardInterrupt):
        audit(keys(run, world, tmp_path / "killed", *argv))
    monkeypatch.undo()
    with (tmp_path / "killed" / LOSSES).open("a") as file:
        file.write('{"id": "cut')
    audit(keys(run, world, tmp_path / "killed", *argv))
    again = [json.loads(line) for line in (tmp_path / "killed" / LOSSES).open()]
    for one, other in zip(again, map(json.loads, lines), strict=True):
        assert one["id"] == other["id"] and one["own"] == pytest.approx(other["own"], abs=1e-5)
    with pytest.raises(UserError, match=r"an audit made otherwise \(limit differs\)"):
        audit(keys(run, world, tmp_path / "killed", "limit=5"))

    marks = tmp_path / "marks.jsonl"
    marks.write_text(
        f'{{"id": "{listed[0]["id"]}", "mark": "drop"}}\n{{"id": "x", "mark": "keep"}}\n'
    )
    given = [
        f"data.path={world}",
        f"out={tmp_path / 'clean'}",
        f"marks={marks}",
        "copies=keep",
        "still=null",
    ]
    curate(load(CurateConfig, given))
    kept = Prepared.open(tmp_path / "clean").rows()["id"]
    assert set(Prepared.open(world).rows()["id"]) - set(kept) == {listed[0]["id"]}
    marks.write_text('{"id": "x", "mark": "maybe"}\n')
    with pytest.raises(UserError, match="line 1: no mark"):
        curate(load(CurateConfig, [*given, "overwrite=true"]))


def test_an_audit_by_a_model_that_was_trained_on_is_not_continued(run, world, tmp_path):
    own = shutil.copytree(run, tmp_path / "run")
    audit(keys(own, world, tmp_path / "out", "limit=2"))
    weights = own / "adapter_model.safetensors"
    save_file({name: t + 0.01 for name, t in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match=r"an audit made otherwise \(model differs\)"):
        audit(keys(own, world, tmp_path / "out", "limit=2"))


EVIL = "</td><script>console.error('run')</script><img src=x onerror=\"console.error('run')\">"


def test_rows_are_marked_in_a_real_browser(world, tmp_path):
    rows = Prepared.open(world).rows().select(range(3))
    found = doubts([row(name) for name in rows["id"]])
    made = {"run": EVIL, "dataset": {"path": EVIL}, "audited": 3, "listed": 3, "times_fit": 0.9}
    numbers = dict.fromkeys(("worth", "worth_low", "worth_high", "own", "blank", "other"), 1.0)
    page = tmp_path / "page.html"
    write_page_of(page, found, rows, DataKeys(), {**made, **numbers})
    with Browser(tmp_path / "profile") as browser:
        opened = browser.page(page.as_uri(), width=1200)
        assert opened.evaluate("document.getElementById('count').textContent").startswith(
            "0 to drop"
        )
        opened.evaluate("HTMLAnchorElement.prototype.click = () => {}")
        opened.evaluate(
            "URL.createObjectURL = (b) => { b.text().then((t) => { window.kept = t }); return 'x:' }"
        )
        press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: KEY, bubbles: true}))"
        for key in "jdjf":
            opened.evaluate(press.replace("KEY", repr(key)))
        opened.evaluate("document.getElementById('save').click()")
        marks = [json.loads(line) for line in opened.wait("window.kept").splitlines()]
        assert [mark["mark"] for mark in marks] == ["drop", "keep"]
        assert [mark["id"] for mark in marks] == [one.worth.id for one in found[:2]]
        assert "1 to drop, 1 to keep, of 3" in opened.evaluate("document.body.innerText")
        assert opened.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
        assert opened.problems == []


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["run=nowhere", "data.path=x", "out=y"], "run=nowhere"),
        (["data.path=x", "out=y"], "run"),
        (["run=x", "data.path=y", "out=z", "limit=1"], "limit"),
    ],
)
def test_a_mistake_is_one_line(argv, line):
    done = call_command("scripts/audit.py", *argv)
    assert done.returncode == 2 and line in done.stderr and "Traceback" not in done.stderr
