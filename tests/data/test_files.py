"""Videos without descriptions: found in folders, by patterns and in lists, and prepared to be described."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.sources import microworld
from data.sources.config import SourceKeys
from data.sources.files import Listed, _with_own_ids, videos_of
from tests.helpers.videos import every, write_video
from train.early_checks import check_data
from train.sections import DataKeys


@pytest.fixture
def tree(tmp_path):
    for name in (
        "b.mp4",
        "a.MKV",
        "notes.md",
        "deep/er/c.webm",
        ".hidden.mp4",
        ".cache/d.mp4",
        "x/b.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(*places):
    return [(Path(one.path).name, one.id) for one in videos_of([str(p) for p in places])]


def test_a_folder_is_searched_and_hidden_files_are_not_looked_at(tree):
    assert found(tree) == [
        ("a.MKV", "a.MKV"), ("b.mp4", "b.mp4"), ("c.webm", "deep/er/c.webm"), ("b.mp4", "x/b.mp4"),
    ]  # fmt: skip


def test_files_patterns_and_folders_give_each_video_once_with_an_id_of_its_own(tree):
    names = found(tree / "notes.md", tree / "x", f"{tree}/*.mp4", tree / "b.mp4", tree / "gone.mp4")
    assert [name for name, _ in names] == ["notes.md", "b.mp4", "b.mp4", "gone.mp4"]
    ids = [one for _, one in names]
    assert ids[1] == "b.mp4" and ids[2].startswith("b-") and ids[2].endswith(".mp4")
    assert [Path(one.path).name for one in videos_of([f"{tree}/**/*.webm"])] == ["c.webm"]


def test_lists(tree):
    (tree / "list.txt").write_text(f"# mine\n\nb.mp4\n  deep/er/c.webm  \n{tree}/a.MKV\nno.mp4\n")
    assert [one for _, one in found(tree / "list.txt")] == [
        "b.mp4",
        "deep/er/c.webm",
        "a.MKV",
        "no.mp4",
    ]
    rows = [
        {"video": "b.mp4", "id": "../up", "prompt": "Who?", "context": "[00:01] hi", "events": []},
        {"video": "x/b.mp4"},
    ]
    (tree / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = videos_of([str(tree / "list.jsonl")])
    assert (first.id, first.prompt, first.context) == ("up", "Who?", "[00:01] hi")
    assert second.id == "x/b.mp4" and Path(second.path) == tree / "x/b.mp4"


def test_several_questions_about_a_video_are_several_rows(tree):
    rows = [{"video": "b.mp4", "id": f"q{i}", "prompt": f"{i}?"} for i in (1, 2)]
    (tree / "l.jsonl").write_text("\n".join(map(json.dumps, [*rows, rows[0]])))
    assert [one for _, one in found(tree / "l.jsonl")] == ["q1", "q2"]


def test_a_list_looks_beside_itself_then_from_here(tree, monkeypatch):
    (tree / "lists").mkdir()
    (tree / "lists/l.txt").write_text("b.mp4\n")
    monkeypatch.chdir(tree)
    assert videos_of(["lists/l.txt"])[0].path == "b.mp4"
    (tree / "lists/b.mp4").touch()
    assert videos_of(["lists/l.txt"])[0].path == "lists/b.mp4"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty", None, "no video in it"),
        ("no*.mp4", None, "no file has such a name"),
        ("l.txt", b"# nothing\n", "names no video"),
        ("l.txt", b"\xff\xfe\xfa", "not UTF-8"),
        ("gone.txt", None, "No such file"),
        ("gone.jsonl", None, "no such file"),
        ("l.jsonl", b'{"video": "a.mp4"}\n{"path": "b.mp4"}\n', 'line 2: write {"video": "PATH"}'),
        ("l.jsonl", b"{nonsense\n", "line 1: write"),
        ("l.jsonl", b'{"video": "\\ud800.mp4"}\n', "no file can have that name"),
        ("l.jsonl", b'{"video": "a.mp4", "prompt": 3}\n', "prompt must be text"),
    ],
)
def test_places_without_a_video_are_refused(tmp_path, name, content, said):
    (tmp_path / "empty").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        videos_of([str(tmp_path / name)])


def test_a_folder_that_may_not_be_read_is_named(tree, capsys, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(videos_of([str(tree)])) == 3
    assert "deep: not searched (Permission denied)" in capsys.readouterr().err


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x.mp4", "y", "x.mkv"])),
        max_size=12,
        unique=True,
    )
)
def test_ids_are_never_used_twice(places):
    ids = [
        one.id
        for one in _with_own_ids(Listed(f"/{folder}/{name}", name) for folder, name in places)
    ]
    assert len(set(ids)) == len(ids)


def test_prepared_videos_have_frames_and_nothing_to_learn(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "short.mp4", every(0.1, 30))
    microworld.render(1, 0, tmp_path, (80.0, 90.0)).replace(videos / "film.mp4")
    (videos / "bad.mp4").write_bytes(b"no")
    keys = SourceKeys(name="files", path=str(videos))
    config = PrepareConfig(
        source=keys, frames=FrameKeys(max=4, px=48, window_s=30), out=str(tmp_path / "o"), workers=1
    )
    manifest = prepare(config)
    rows = Prepared.open(tmp_path / "o").rows()
    assert manifest["quarantined"] == {"unreadable": 1} and manifest["samples"] == 2
    assert [row["sample_id"] for row in rows].count("film.mp4") >= 3
    assert not any(row["events"] or row["description"] for row in rows)
    with pytest.raises(UserError, match="nothing to learn"):
        check_data(DataKeys(path=str(tmp_path / "o")))
    # the same files: nothing is done again
    assert prepare(config)["rows_from_before"] == 3
