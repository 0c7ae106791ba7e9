"""Rows that a person has marked are left out of training."""

import json

import pytest

from data.errors import UserError
from data.prepared.dataset import Prepared
from data.prepared.marks import read_marks
from tests.helpers.runs import killed_after, train
from train.batches.split import split


def write(file, **marks):
    file.write_text("".join(json.dumps({"id": k, "mark": v}) + "\n" for k, v in marks.items()))
    return file


@pytest.mark.slow
def test_marked_rows_are_not_learned_from_nor_measured(world, tmp_path, capsys):
    rows = Prepared.open(world).rows()
    parts, names = split(rows, 0.2, 200), rows["id"]
    gone = [names[parts.train[0]], names[parts.train[3]], names[parts.held[0]]]
    marks = write(
        tmp_path / "marks.jsonl", **dict.fromkeys(gone, "drop"), **{names[parts.train[1]]: "keep"}
    )
    for how in ([], ["data.stream=true"]):
        out = tmp_path / f"run-{len(how)}"
        train(world, out, "train.steps=2", "train.save_every=1", f"data.marks={marks}", *how)
        told = json.loads((out / "run.json").read_text())["dataset"]
        assert told["learned_from"] == len(parts.train) - 2 and told["left_out_by_marks"] == 3
        said = capsys.readouterr().out
        assert "3 rows left out, marked drop" in said
        assert f"{len(parts.held) - 1} samples held out" in said
    # held out stays held out, for evaluation later
    assert set((out / "held_out.txt").read_text().split()) == set(parts.held_ids)

    # with other marks a stopped run would see some samples twice
    stopped = killed_after(tmp_path / "run-0", 1, tmp_path / "stopped")
    write(marks, **dict.fromkeys(gone[:1], "drop"))
    again = ("train.steps=2", "train.save_every=1", f"data.marks={marks}", "train.resume=true")
    with pytest.raises(UserError, match=r"data\.marks is not the file it began with"):
        train(world, stopped, *again)


def test_marks_that_cannot_be_followed_are_one_line(world, tmp_path):
    rows = Prepared.open(world).rows()
    with pytest.raises(UserError, match=r"data.marks=.*none: cannot be read"):
        train(world, tmp_path / "a", f"data.marks={tmp_path}/none")
    all_of_them = write(tmp_path / "all.jsonl", **dict.fromkeys(rows["id"], "drop"))
    with pytest.raises(UserError, match="rows to train on are marked drop"):
        train(world, tmp_path / "b", f"data.marks={all_of_them}")
    (tmp_path / "bad.jsonl").write_text('{"id": "x", "mark": "maybe"}\n')
    with pytest.raises(UserError, match=r"data.marks=.*, line 1: no mark"):
        train(world, tmp_path / "c", f"data.marks={tmp_path}/bad.jsonl")
    assert not any((tmp_path / name).exists() for name in "abc")
    assert read_marks(None, "data.marks").sha256 is None
