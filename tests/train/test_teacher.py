"""A teacher for videos without labels, against a server on this machine that speaks the protocol."""

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import load
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.target import clock
from data.window import Window
from tests.helpers.judge import judging
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.chat import PictureQuestion
from train.teacher.command import ANSWERS, CAPTIONS, FAILED, RECORD, caption_videos
from train.teacher.config import CaptionConfig
from train.teacher.levels import Shown, Unreadable, caption, num_questions
from train.teacher.words import read_window

pytest.importorskip("openai")


# --- words and levels ---------------------------------------------------------------------------


def test_a_windows_answer_is_read_whatever_stands_around_it():
    window = Window(60.0, 90.0)
    scene = read_window(
        "Sure!\n[01:00 - 01:10] a dog runs.\n[01:10 - 01:20] it\tstops. \n\n**SUMMARY:** A dog\nruns and stops.\n", window
    )  # fmt: skip
    assert [(e.start_s, e.end_s) for e in scene.events] == [(60, 70), (70, 80)]
    assert scene.events[1].text == "it\tstops." and scene.told.summary == "A dog runs and stops."
    # times outside are moved to the edge, or are no event
    scene = read_window("[00:50 - 01:10] a\n[02:00 - 02:10] b\nSummary: c", window)
    assert [(e.start_s, e.end_s, e.text) for e in scene.events] == [(60, 70, "a")]
    for bad in ("", "hm.", "[01:00 - 01:10] a dog runs.", "SUMMARY: a dog runs.", "[01:00 - 01:10]\nSUMMARY: x",
                "[00:01 - 00:02] elsewhere\nSUMMARY: x"):  # fmt: skip
        assert read_window(bad, window) is None, bad


@st.composite
def tellings(draw):
    """Windows that tile a video, and distinct events told of each."""
    lengths = draw(st.lists(st.integers(2, 40), min_size=1, max_size=30))
    start, said = 0, []
    for number, length in enumerate(lengths):
        cuts = sorted(draw(st.sets(st.integers(start, start + length), min_size=2, max_size=5)))
        events = [(a, b, f"event {number}-{k}") for k, (a, b) in enumerate(pairwise(cuts))]
        said.append((Window(float(start), float(start + length)), events))
        start += length
    return said


@settings(max_examples=60, deadline=None)
@given(tellings(), st.integers(2, 7))
def test_merging_loses_no_event_and_no_summary(said, group):
    asked = []

    def ask(question):
        asked.append(question)
        if isinstance(question, PictureQuestion):
            number = sum(isinstance(q, PictureQuestion) for q in asked) - 1
            lines = [f"[{clock(a)} - {clock(b)}] {text}" for a, b, text in said[number][1]]
            return "\n".join([*lines, f"SUMMARY: part {number} ends"])
        parts = question.split("What was told before")[0] + question.split("\n\n", 2)[2]
        return " ".join(dict.fromkeys(re.findall(r"part \d+ ends", parts)))

    shown = [Shown(window, ((window.start_s, b"x"),)) for window, _ in said]
    found = caption(shown, said[-1][0].end_s, ask, group=group, hint="")
    assert [(e.start_s, e.end_s, e.text) for e in found.events] == sorted(
        (a, b, text) for _, events in said for a, b, text in events
    )
    assert [f"part {n} ends" in found.description for n in range(len(said))] == [True] * len(said)
    assert len(asked) == num_questions(len(said), group)


def test_what_was_told_before_and_what_is_said_are_given_along():
    asked = []

    def ask(question):
        asked.append(question.text if isinstance(question, PictureQuestion) else question)
        if isinstance(question, PictureQuestion):
            start = re.search(r"show it from (\S+) to", question.text)[1]
            return f"[{start} - 59:59] x\nSUMMARY: tells {start}"
        return "merged"

    shown = [
        Shown(Window(30.0 * n, 30.0 * n + 30), ((30.0 * n + 1, b"x"),), f"Speech {n}")
        for n in range(5)
    ]
    found = caption(shown, 150.0, ask, group=2, hint="cooking lessons")
    assert found.description == "merged"
    windows = [q for q in asked if "SUMMARY:" in q]
    assert "What was told before" not in windows[0] and "tells 00:00" in windows[1]
    assert all("All of these videos are: cooking lessons." in q for q in asked)
    assert "taken at 01:01" in windows[2] and "of 02:30" in windows[2] and "Speech 2" in windows[2]
    assert "of a video," in asked[-1] and "of a stretch of a video" in asked[5]
    with pytest.raises(Unreadable):
        caption(shown, 150.0, lambda _: "no", group=2, hint="")


# --- against a server ---------------------------------------------------------------------------


def teller(body):
    """Tells a window by the times it is asked about, and merges by repeating."""
    content = body["messages"][0]["content"]
    if isinstance(content, str):
        return "Merged: " + " ".join(re.findall(r"tells \S+", content))
    text = content[-1]["text"]
    start, end = re.search(r"show it from (\S+) to (\S+?)( of|\.| |\n)", text).groups()[:2]
    return f"[{start} - {end.rstrip('.')}] {len(content) - 1} pictures.\nSUMMARY: tells {start}"


@pytest.fixture
def films(world, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for clip in sorted((world.parent / "videos").glob("*.mp4"))[:4]:
        shutil.copy(clip, folder)
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


def keys(films, server, out, *more):
    argv = [
        f"source.path={films}", f"out={out}", "teacher.model=the-model", f"teacher.base_url={server.url}", "workers=1",
        "frames.window_s=5", "frames.max=3", "frames.px=96", "teacher.workers=2",
    ]  # fmt: skip
    given = {a.split("=")[0] for a in more}
    return load(CaptionConfig, [a for a in argv if a.split("=")[0] not in given] + list(more))


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_folder_is_told_and_learned_from(films, tmp_path, tiny_folder, capsys):
    with judging() as server:
        server.says = teller
        out = tmp_path / "captions"
        assert caption_videos(
            keys(films, server, out, "teacher.price_in=2", "teacher.price_out=8")
        ) == (5, 1)
        said = capsys.readouterr().out
        count = len(server.asked)
        told = re.search(r"of 4 videos, (\d+) questions with \d+ pictures.*at the prices", said)
        assert int(told[1]) >= count > 11  # two merges of the same texts are one question
        rows, failed = lines(out / CAPTIONS), lines(out / FAILED)
        assert [Path(row["video"]).name for row in rows] == sorted(
            p.name for p in films.glob("world*")
        )
        assert [one["id"] for one in failed] == ["bad.mp4"] and failed[0]["why"].startswith(
            "unreadable:"
        )
        assert all(row["teacher"]["model"] == "the-model" and row["events"] for row in rows)
        assert all(event[2].endswith("pictures.") for row in rows for event in row["events"])
        quiet = (out / CAPTIONS).read_bytes()
        caption_videos(keys(films, server, out))
        assert len(server.asked) == count and (out / CAPTIONS).read_bytes() == quiet
        with pytest.raises(UserError, match=r"made otherwise \(teacher differs\)"):
            caption_videos(keys(films, server, out, "teacher.model=other"))
        with pytest.raises(UserError, match=r"teacher.max_calls=2"):
            caption_videos(keys(films, server, tmp_path / "few", "teacher.max_calls=2"))
    argv = [
        "source=jsonl",
        f"source.path={out}/{CAPTIONS}",
        f"out={tmp_path}/data",
        "frames.max=3",
        "frames.px=96",
    ]
    prepare(load(PrepareConfig, [*argv, "workers=1"]))
    dataset = Prepared.open(tmp_path / "data")
    assert dataset.manifest["synthetic"] == {"the-model": 4}
    card = (tmp_path / "data/README.md").read_text()
    assert "texts of 4 rows were written by a model, `the-model`" in card
    train(tmp_path / "data", tmp_path / "run", "train.steps=1", base=str(tiny_folder))
    assert (
        "synthetic, written by a model: 4 by `the-model`"
        in (tmp_path / "run/README.md").read_text()
    )


@pytest.mark.slow
def test_a_server_that_dies_and_one_that_mumbles_lose_nothing(films, tmp_path, capsys):
    with judging() as server:
        server.says = teller
        caption_videos(keys(films, server, tmp_path / "quiet"))
        whole, count = (tmp_path / "quiet" / CAPTIONS).read_bytes(), len(server.asked)

        out = tmp_path / "captions"
        left = 5

        def dying(body):
            nonlocal left
            left -= 1
            if left < 0:
                server.status = 401
            return teller(body)

        server.says = dying
        with pytest.raises(UserError, match="refuses the key"):
            caption_videos(keys(films, server, out, "teacher.workers=1"))
        assert not (out / CAPTIONS).exists() and len(lines(out / ANSWERS)) >= 5
        kept = len(lines(out / ANSWERS))
        with (out / ANSWERS).open("a") as file:
            file.write('{"question": "cut')
        server.status, server.says, before = 200, teller, len(server.asked)
        caption_videos(keys(films, server, out))
        assert (out / CAPTIONS).read_bytes() == whole
        # what was answered is not asked again; two videos may ask the same at the same time
        assert len(server.asked) - before <= count - kept + 1

        # rubbish: asked once more; then the video is named, and asked again by the next call
        mumbling = tmp_path / "mumbling"
        server.says = lambda body: "hm." if "from 00:00" in str(body["messages"]) else teller(body)
        assert caption_videos(keys(films, server, mumbling)) == (5, 5)
        assert {one["why"] for one in lines(mumbling / FAILED) if one["id"] != "bad.mp4"} == {
            "unreadable answers (no line of an event, or no summary)"
        }
        server.says = teller
        assert caption_videos(keys(films, server, mumbling)) == (5, 1)
        assert (mumbling / CAPTIONS).read_bytes() == whole
        assert json.loads((mumbling / RECORD).read_text())["captioned"] == 4


@pytest.mark.slow
def test_by_the_command(films, tmp_path):
    with judging() as server:
        server.says = teller
        argv = [
            f"source.path={films}",
            f"out={tmp_path}/out",
            f"teacher.base_url={server.url}",
            "workers=1",
        ]
        done = call_command("scripts/caption.py", *argv, "teacher.model=m", "frames.px=96")
        assert done.returncode == 1 and "4 of 5 videos told" in done.stdout, done.stderr
        server.status = 400  # refuses each question: each video has its reason
        argv[1] = f"out={tmp_path}/refused"
        done = call_command("scripts/caption.py", *argv, "teacher.model=m", "frames.px=96")
        assert done.returncode == 2 and "no video could be told" in done.stderr
        assert any("answers 400" in one["why"] for one in lines(tmp_path / "refused" / FAILED))
    for more, said in (
        ([], "who is the teacher?"),
        (["teacher.model=m", "adapter=r"], "who is the teacher?"),
        (["teacher.model=m", "source=finevideo"], "captions are for files"),
        (["adapter=r", "teacher.hint=x"], "teacher.hint: the teacher is adapter=r"),
    ):
        done = call_command("scripts/caption.py", *argv[:2], *more)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, (
            done.stderr
        )


@pytest.mark.slow
def test_a_run_of_ours_teaches(world, films, tmp_path):
    train(world, tmp_path / "run", "train.steps=1", "eval.worth=false", "data.eval_share=0")
    argv = [f"source.path={films}", f"out={tmp_path}/out", f"adapter={tmp_path}/run", "workers=1"]
    count, failed = caption_videos(load(CaptionConfig, argv))
    assert count == 5 and failed >= 1
    rows, lost = lines(tmp_path / "out" / CAPTIONS), lines(tmp_path / "out" / FAILED)
    assert len(rows) + len(lost) == 5 and all(one["why"] for one in lost)
    assert all(row["teacher"]["model"] == "run" for row in rows)
