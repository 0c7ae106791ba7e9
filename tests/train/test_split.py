"""A video is learned from or measured on, never both, however many rows it has."""

import contextlib
import json
import shutil

import pytest
from datasets import Dataset
from hypothesis import assume, given
from hypothesis import strategies as st

from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from tests.helpers.runs import train
from tests.helpers.videos import call_command, every, write_video
from train.batches.split import split
from train.evaluation.systems import kept_out
from train.hub.card import model_card
from train.run.held_out import read_held_out, write_held_out
from train.run.saved import read_run

VIDEOS, EACH = 8, 5


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=60),
    st.floats(0.01, 0.9),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_no_video_on_both_sides(of_video, share, most, more):
    assume(len(set(of_video)) > 1)
    names = [f"row {i}" for i in range(len(of_video))]
    rows = Dataset.from_dict({"sample_id": names, "video_id": [f"v{n}" for n in of_video]})
    try:
        found = split(rows, share, most)
    except UserError:
        assert round(len(set(of_video)) * share) >= len(set(of_video))
        return
    assert sorted(found.train + found.held) == list(range(len(of_video)))
    assert found.held_ids == tuple(names[i] for i in found.held)
    held = {of_video[i] for i in found.held}
    assert held.isdisjoint(of_video[i] for i in found.train)
    assert found.train and found.held and found.videos == len(held)
    assert len(found.held) <= most or len(held) == 1
    assert len(held) <= max(1, round(len(set(of_video)) * share))
    with contextlib.suppress(UserError):  # more than there may be
        wider = split(rows, share, most + more)
        assert set(found.held) <= set(wider.held)  # a smaller part lies in a larger one


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_ids_of_any_text_are_listed_and_read(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("run")
    write_held_out(ids, folder)
    assert read_held_out(folder) == tuple(ids)
    write_held_out(["new", *ids], folder, before=ids)
    assert read_held_out(folder) == tuple(n for n in ["new", *ids] if n in ids)


def chat_rows(folder):
    """Rows as chat data has them, a question each; half of them name a copy of the video, and one
    has a system turn."""
    rows = []
    for number in range(VIDEOS):
        name = f"video{number}.mp4"
        write_video(folder / name, every(0.1, 12 + number))
        shutil.copy(folder / name, folder / f"copy-{name}")
        for k in range(EACH):
            turns = [("human", f"Question {k}?"), ("gpt", f"Answer {k} of {number}.")]
            row = {"video": name if k % 2 else f"copy-{name}", "id": f"{number}/{k}"}
            rows.append({**row, "conversations": [{"from": f, "value": v} for f, v in turns]})
    rows[0]["conversations"].insert(0, {"from": "system", "value": "Be brief."})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def prepared(folder, name, **frames):
    source = SourceKeys(name="jsonl", path=str(folder / "rows.jsonl"))
    keys = FrameKeys(max=2, px=64, **frames)
    prepare(PrepareConfig(source=source, frames=keys, out=str(folder / name), workers=1))
    return folder / name


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chats")
    chat_rows(folder)
    return prepared(folder, "scene")


@pytest.fixture(scope="module")
def run(chats, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "chat"
    train(chats, out, "train.steps=2", "train.save_every=1", "data.eval_share=0.25")
    return out


def test_rows_of_one_video_stay_together(chats, run):
    manifest = json.loads((chats / "manifest.json").read_text())
    assert manifest["videos"] == VIDEOS and manifest["rows"] == VIDEOS * EACH
    held = read_held_out(run)
    assert held is not None and len(held) == 2 * EACH
    assert len({name.split("/")[0] for name in held}) == 2
    record = json.loads((run / "run.json").read_text())["dataset"]
    assert (record["held_out"], record["held_out_videos"], record["videos"]) == (10, 2, VIDEOS)
    assert (
        f"{VIDEOS * EACH} rows of {VIDEOS} videos, 2 of them held out with all their rows"
        in model_card(run, "me/chat")
    )


def test_evaluation_knows_what_was_held_out(chats, run):
    """By the run's own list: of the dataset itself, of a checkpoint, of the same rows with other frames."""
    rows, held = Prepared.open(chats).rows(), set(read_held_out(run))
    dataset = Prepared.open(chats)
    assert kept_out(read_run(run), dataset, rows) == held
    other = Prepared.open(prepared(chats.parent, "uniform", policy="uniform"))
    assert other.sha256 != dataset.sha256
    assert kept_out(read_run(run), other, other.rows()) == held


def test_of_a_run_that_goes_on_or_came_from_the_hub(chats, run, tmp_path):
    rows, dataset = Prepared.open(chats).rows(), Prepared.open(chats)
    stopped, pushed = tmp_path / "stopped", tmp_path / "pushed"
    shutil.copytree(run, stopped)
    (stopped / "run.json").unlink()
    assert kept_out(read_run(stopped / "checkpoint-1"), dataset, rows) == set(read_held_out(run))
    shutil.copytree(run, pushed)  # the list stays here: ids may be private
    (pushed / "held_out.txt").unlink()
    assert kept_out(read_run(pushed), dataset, rows) == set(read_held_out(run))
    told = json.loads((run / "run.json").read_text())
    for key in ("sources", "sha256", "manifest_sha256"):
        told["dataset"][key] = "another"
    (pushed / "run.json").write_text(json.dumps(told))
    assert kept_out(read_run(pushed), dataset, rows) is None
    told["dataset"]["sources"] = [{**s, "texts": 7} for s in dataset.manifest["sources"]]
    (pushed / "run.json").write_text(json.dumps(told))
    assert kept_out(read_run(pushed), dataset, rows) == set(read_held_out(run)), (
        "the same videos, other texts"
    )


def test_words_of_their_own_are_told(chats, run, capsys, tmp_path):
    """Chat rows bring their prompts; what asks otherwise later says so."""
    manifest = json.loads((chats / "manifest.json").read_text())
    assert manifest["own_words"] == {"prompt": VIDEOS * EACH, "system": 1}
    own = json.loads((run / "run.json").read_text())["dataset"]["own_words"]
    assert own["prompt"] == 30 and own.get("system", 0) <= 1
    assert "30 prompts" in model_card(run, "me/chat")
    capsys.readouterr()
    train(chats, tmp_path / "again", "train.steps=1", "data.eval_share=0.25")
    assert (
        "bring words of their own and are asked with these: 30 prompts" in capsys.readouterr().out
    )
    video = str(chats.parent / "video0.mp4")
    told = call_command("scripts/describe.py", video, f"adapter={run}", "max_new_tokens=2")
    assert told.returncode == 0 and "asked in their own words" in told.stderr, told.stderr
    told = call_command(
        "scripts/describe.py", video, f"adapter={run}", "max_new_tokens=2", "prompt=What?"
    )
    assert told.returncode == 0 and "in their own words" not in told.stderr
