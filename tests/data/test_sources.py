"""VideoFeedback, ActivityNet and YouCook2, other datasets' rows, frame files, mixtures."""

import json
import zipfile
from collections import Counter
from importlib import import_module
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.errors import UserError
from data.media import FrameFiles, HubFile, Missing, VideoFile, ZipMember
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.offline.unpack import Unpacker
from data.prepared.dataset import Prepared
from data.sample import FilteredOut, Rejected, Sample
from data.selection.choose import analyse, choose_frames
from data.selection.config import FrameKeys
from data.sources import catalog, jsonl, videofeedback
from data.sources.config import SourceKeys
from data.video.info import BadVideo
from tests.helpers.feedback import LINK, feedback, write_feedback
from tests.helpers.videos import ROOT, coded, every, number_of, write_video


def read(source, **keys):
    return list(import_module(f"data.sources.{source}").read(SourceKeys(name=source, **keys)))


def test_videofeedback_by_column_name(tmp_path):
    sample_file = ROOT.parent / "shared" / "samples" / "videofeedback_row.json"
    rows = [feedback(i) for i in range(8)]
    if sample_file.is_file():
        rows[0] = json.loads(sample_file.read_text())
    names = ["id", *sorted(k for k in rows[0] if k != "id")]
    write_feedback(tmp_path, rows, order=names[::-1])
    samples = read("videofeedback", path=str(tmp_path), subset="annotated")
    assert len(samples) == 8 and all(isinstance(s.video, HubFile) for s in samples)
    assert samples[1].video == HubFile(videofeedback.VIDEOS, "p/p000001.mp4")
    assert samples[1].description == "A person opens door 1" and not samples[1].turns
    assert json.loads(samples[1].metadata)["dynamic degree"] == 3
    good = read(
        "videofeedback", path=str(tmp_path), subset="annotated", min_alignment=3, rating=True
    )
    assert Counter(type(s) for s in good)[FilteredOut] == 4 - sample_file.is_file()
    rated = next(s for s in good if isinstance(s, Sample) and s.id == "p000002")
    assert rated.turns[0].answer.splitlines()[3] == "text-to-video alignment: 3"
    with pytest.raises(UserError, match="holds no real/"):
        read("videofeedback", path=str(tmp_path))
    pq.write_table(
        pq.read_table(tmp_path / "annotated/train-00000-of-00001.parquet").rename_columns(
            ["caption" if n == "text prompt" else n for n in names[::-1]]
        ),
        tmp_path / "annotated/train-00000-of-00001.parquet",
    )
    with pytest.raises(UserError, match="no column 'text prompt'; it has"):
        read("videofeedback", path=str(tmp_path), subset="annotated")


def test_videofeedback_from_a_folder_and_the_zip(tmp_path):
    rows = [feedback(0), feedback(1), feedback(2)]
    write_feedback(tmp_path, rows, subset="real")
    (tmp_path / "v/p").mkdir(parents=True)
    for i in range(2):
        (tmp_path / f"v/p/p00000{i}.mp4").write_bytes(b"video %d" % i)
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.write(tmp_path / "v/p/p000000.mp4", "videos/p000000.mp4")
        archive.writestr("../../p000001.mp4", b"video 1")  # a name is no path here
    for videos in ("v", "v.zip"):
        found = read("videofeedback", path=str(tmp_path), videos=str(tmp_path / videos))
        unpacked = Unpacker(tmp_path)
        local = [unpacked.to_local_file(s.video) for s in found[:2]]
        assert [Path(v.path).read_bytes() for v in local] == [b"video 0", b"video 1"]
        assert isinstance(found[2], Rejected) and found[2].reason == "missing file"
    assert isinstance(found[0].video, ZipMember)
    with pytest.raises(UserError, match="no such folder or zip"):
        read("videofeedback", path=str(tmp_path), videos=str(tmp_path / "none"))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "text prompt", "video link", *videofeedback.SCORES]),
        st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text())
        | st.sampled_from(["p1", LINK.format("p1"), "https://evil.example/x.mp4", "../../etc"]),
    )
)  # fmt: skip
def test_videofeedback_nonsense_never_raises_and_never_leaves_the_hub(row):
    keys = SourceKeys(name="videofeedback", rating=True)
    found = videofeedback.sample_of(row, keys, "here", None)
    assert isinstance(found, Sample | Rejected)
    if isinstance(found, Sample):
        assert found.video == HubFile(videofeedback.VIDEOS, "p/p1.mp4")


ANET = {
    "v_one": {
        "duration": 20.5,
        "timestamps": [[5, 9.5], [0.25, 4], [18, 30], [3, 3]],
        "sentences": [" He jumps.", "A man stands", "He leaves.", "Nothing."],
    },
    "v_two": {"duration": 3, "timestamps": [[0, 3]], "sentences": ["x"]},
    "v_bad": [],
    "v_empty": {"duration": 3, "timestamps": [], "sentences": []},
}
YC2 = {
    "database": {
        "abc": {
            "subset": "training", "duration": 90.0,
            "annotations": [{"id": 0, "segment": [10, 20], "sentence": "cut the onion"}],
        },
        "def": {"subset": "validation", "duration": 9, "annotations": []},
    }
}  # fmt: skip


def test_activitynet_and_youcook2(tmp_path):
    (tmp_path / "videos/deep").mkdir(parents=True)
    for name in ("videos/v_one.mp4", "videos/deep/empty.mkv", "videos/abc.webm"):
        (tmp_path / name).touch()
    (tmp_path / "anet.json").write_text(json.dumps(ANET))
    (tmp_path / "yc2.json").write_text(json.dumps(YC2))
    keys = {"videos": str(tmp_path / "videos")}
    one, two, bad, empty = read("activitynet", path=str(tmp_path / "anet.json"), **keys)
    assert [(e.start_s, e.end_s) for e in one.events] == [(0.25, 4), (5, 9.5), (18, 20.5)]
    assert one.description == "A man stands. He jumps. He leaves."
    repairs = {r.what: r.count for r in one.repairs}
    assert repairs == {"cut at the video's end": 1, "no length": 1, "out of order": 1}
    assert (two.reason, bad.reason, empty.reason) == ("missing file", "bad row", "no target left")
    (abc, other) = read("activitynet", path=str(tmp_path / "yc2.json"), split="train", **keys)
    assert abc.events[0].text == "cut the onion" and isinstance(other, FilteredOut)
    for name, text, words in (
        ("list.json", "[]", "an object of videos"),
        ("no.json", "{", "not JSON"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=words):
            read("activitynet", path=str(tmp_path / name), **keys)


FOREIGN = {
    "sharegpt4video": (
        {"video_id": "s1", "video_path": "panda/s1.mp4", "zip_folder": "panda_videos_1.zip",
         "captions": [{"idx": "-1", "content": "A cat sleeps."}, {"idx": "0", "content": "frame"}]},
        "s1", "panda/s1.mp4", "A cat sleeps.", []),
    "llava-video-178k": (
        {"id": 7, "video": "academic/l1.mp4", "data_source": "0_30_s", "conversations": [
            {"from": "human", "value": "<image>\nDescribe."}, {"from": "gpt", "value": "A dog runs."}]},
        "7", "academic/l1.mp4", "A dog runs.", []),
    "plm": (
        {"video": "plm/m1.mp4", "conversations": [
            {"from": "human", "value": "What?"}, {"from": "assistant", "value": "A bird."}]},
        "plm/m1", "plm/m1.mp4", "A bird.", []),
    "plm-rdcap": (
        {"uid": 3, "video": "sav_1.mp4", "masklet_id": 2, "total_frames": 90, "dense_captions": [
            {"start_frame": 0, "end_frame": 29, "caption": "He sits."},
            {"start_frame": 30, "end_frame": 89, "caption": "He walks."}]},
        "3", "sav_1.mp4", "", [(0.0, 5.0), (5.0, 15.0)]),
    "plm-rcap": (
        {"uid": 4, "video": "sav_1.mp4", "total_frames": 90, "caption": "He sits.", "start_frame": 6, "end_frame": 11},
        "4", "sav_1.mp4", "", [(1.0, 2.0)]),
    "vript": (
        {"meta": {"video_id": "q", "num_clips": 1}, "data": {"q-Scene-001": {
            "clip_id": "q-Scene-001", "caption": {"shot_type": "wide", "content": "A city."}, "voiceover": [""]}}},
        "q-Scene-001", "clips/q/q-Scene-001.mp4", "A city.", []),
    "penguin-recap": (
        {"video": ["./panda/s1.mp4"], "conversations": [
            {"from": "human", "value": "<video>Tell."}, {"from": "gpt", "value": "A cat."}]},
        "panda/s1", "panda/s1.mp4", "A cat.", []),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_rows_of_other_datasets(name, tmp_path):
    row, sample_id, video, description, events = FOREIGN[name]
    for _, _, path, _, _ in FOREIGN.values():
        (tmp_path / "videos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / path).touch()
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    keys = SourceKeys(
        name="jsonl", path=str(tmp_path / "rows.jsonl"), videos=str(tmp_path / "videos")
    )
    (sample,) = jsonl.read(keys)
    assert isinstance(sample, Sample), sample
    assert (sample.id, sample.description) == (sample_id, description)
    assert isinstance(sample.video, VideoFile) and sample.video.path == str(
        tmp_path / "videos" / video
    )
    assert [(e.start_s, e.end_s) for e in sample.events] == events


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"video_id": "s", "captions": [{"idx": "0", "content": "x"}]}, "idx -1"),
        ({"video": "a", "total_frames": 3, "dense_captions": 3}, "list of objects"),
        ({"video": "a", "total_frames": 3, "start_frame": 0.5, "end_frame": 2}, "whole numbers"),
        ({"meta": {}, "data": {"a": {"caption": {}}}}, "nothing to learn"),
        ({"meta": {}, "data": {}}, "no clip"),
        ({"frames": ["a.jpg", "b.jpg"], "description": "x"}, "need times_s"),
        ({"frames": ["a.jpg", "b.jpg"], "times_s": [1, 1], "description": "x"}, "must increase"),
        ({"frames": ["a.jpg"], "times_s": [-1], "description": "x"}, "not below 0"),
        ({"frames": ["a.jpg"], "times_s": ["0"], "description": "x"}, "are numbers"),
        ({"frames": [], "times_s": [], "description": "x"}, "list of picture files"),
        ({"frames": ["a.jpg"], "times_s": [10**400], "description": "x"}, "too large"),
        ({"video": "a", "total_frames": 3, "start_frame": 10**400, "end_frame": 2}, "too large"),
        ({"frames": ["a.jpg"], "fps": 1, "duration_s": -4, "description": "x"}, "above 0"),
    ],
)
def test_rows_of_other_datasets_gone_wrong(row, words, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (rejected,) = jsonl.read(SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl")))
    assert (
        isinstance(rejected, Rejected) and rejected.reason == "bad row" and words in rejected.detail
    )


def test_one_clip_of_a_vript_row_costs_that_clip(tmp_path):
    data = {
        f"q-Scene-{i}": {"caption": {"content": "A city." if i != 2 else [3]}} for i in (1, 2, 3)
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps({"meta": {}, "data": data}))
    found = list(jsonl.read(SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))))
    assert [type(f) for f in found] == [Sample, Rejected, Sample] and found[1].id == "q-Scene-2"


def test_a_name_that_two_files_have_is_no_match(tmp_path):
    for name in ("A/1.mp4", "B/1.mp4", "B/v1.0.mp4"):
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "v" / name).touch()
    rows = [{"video": v, "description": "x"} for v in ("A/1.mp4", "C/1.mp4", "v1.0", "n" * 300)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    keys = SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"), videos=str(tmp_path / "v"))
    one, other, dotted, long = jsonl.read(keys)
    assert one.video.path == str(tmp_path / "v/A/1.mp4")
    assert other.video.path == str(tmp_path / "v/C/1.mp4")  # not there: no other one in its place
    assert dotted.video.path == str(tmp_path / "v/B/v1.0.mp4") and isinstance(long, Rejected)


def test_a_damaged_zip_member_costs_that_video(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mp4", bytes(range(256)) * 99)
        archive.writestr("b.mp4", b"good")
    content = bytearray((tmp_path / "v.zip").read_bytes())
    content[40:90] = b"\xff" * 50
    (tmp_path / "v.zip").write_bytes(bytes(content))
    unpacker = Unpacker(tmp_path)
    with pytest.raises(Missing):
        unpacker.to_local_file(ZipMember(str(tmp_path / "v.zip"), "a.mp4"))
    found = unpacker.to_local_file(ZipMember(str(tmp_path / "v.zip"), "b.mp4"))
    assert Path(found.path).read_bytes() == b"good"


# --- pictures that are frames already --------------------------------------------------------


def frame_files(folder, count, step_s=0.5):
    folder.mkdir()
    for i in range(count):
        Image.fromarray(coded(i)).save(folder / f"{i:03d}.png")
    return FrameFiles(
        tuple(str(folder / f"{i:03d}.png") for i in range(count)),
        tuple(1.0 + i * step_s for i in range(count)),
    )


def test_frame_files_keep_their_times(tmp_path):
    few, many = frame_files(tmp_path / "few", 6), frame_files(tmp_path / "many", 60)
    chosen = choose_frames(few, FrameKeys(max=8))
    assert chosen.times_s == few.times_s and set(chosen.reasons) == {"given"}
    assert chosen.duration_s == 4.0 and chosen.decoded_share == 1
    for policy in ("scene", "uniform", "l1"):
        chosen = choose_frames(many, FrameKeys(policy=policy, max=8, px=48))
        assert len(chosen.times_s) <= 8 and set(chosen.times_s) <= set(many.times_s)
    looked = analyse(few, FrameKeys(max=8))
    from data.selection.choose import chosen_pictures

    assert [number_of(p) for p in chosen_pictures(looked, FrameKeys(max=8))] == list(range(6))


def test_frame_files_that_are_not_there(tmp_path):
    frames = frame_files(tmp_path / "f", 10)
    (tmp_path / "f/003.png").write_text("no picture")
    assert choose_frames(frames, FrameKeys(max=16), 0.9).decoded_share == 0.9
    (tmp_path / "f/004.png").unlink()
    with pytest.raises(BadVideo, match="80% of its frame files"):
        choose_frames(frames, FrameKeys(max=16))
    gone = FrameFiles(("nowhere/1.jpg",), (0.0,))
    with pytest.raises(BadVideo, match="none of its 1 frame files is there") as error:
        choose_frames(gone, FrameKeys())
    assert error.value.reason == "missing file"


def test_frame_files_through_prepare(tmp_path):
    frames = frame_files(tmp_path / "f", 5)
    names = [f"f/{i:03d}.png" for i in range(5)]
    rows = [
        {"frames": names, "times_s": list(frames.times_s), "events": [[1, 2, "x"]], "duration_s": 9},
        {"id": "b", "videos": [names], "fps": 2, "messages": [
            {"role": "user", "content": "<video>What?"}, {"role": "assistant", "content": "Bars."}]},
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))
    prepare(PrepareConfig(source=source, out=str(tmp_path / "o"), workers=1))
    first, second = Prepared.open(tmp_path / "o").rows()
    assert first["id"] == "f" and first["times_s"] == list(frames.times_s)
    assert first["duration_s"] == 9 and second["times_s"] == [0, 0.5, 1, 1.5, 2]


# --- order, mixtures, ids --------------------------------------------------------------------


def rows_file(path, names):
    path.write_text("\n".join(json.dumps({"video": f"{n}.mp4", "description": "x"}) for n in names))
    return SourceKeys(name="jsonl", path=str(path))


def test_shuffled_rows_are_the_same_rows(tmp_path):
    keys = rows_file(tmp_path / "a.jsonl", range(100))
    plain = [s.id for s in jsonl.read(keys)]
    mixed = [s.id for s in jsonl.read(keys.model_copy(update={"shuffle_seed": 3}))]
    again = [s.id for s in jsonl.read(keys.model_copy(update={"shuffle_seed": 3}))]
    assert mixed == again != plain == sorted(plain, key=int) and sorted(mixed) == sorted(plain)


def test_mixtures_keep_their_shares(tmp_path):
    big, small = (
        rows_file(tmp_path / "a.jsonl", range(100)),
        rows_file(tmp_path / "b.jsonl", range(20)),
    )
    weighted = [big.model_copy(update={"weight": 3.0}), small.model_copy(update={"weight": 1.0})]
    found = list(catalog.read(weighted))
    assert Counter(s.id.split("/")[0] for s in found) == {"jsonl-0": 63, "jsonl-1": 20}
    first = Counter(s.id.split("/")[0] for s in found[:40])
    assert first == {"jsonl-0": 30, "jsonl-1": 10}
    assert len(list(catalog.read([big, small]))) == 120 == catalog.count([big, small])
    assert catalog.count(weighted) is None


@given(st.lists(st.text(max_size=3), max_size=60))
def test_an_id_is_new_once(names):
    rows = (Sample(id=n, source="jsonl", video=VideoFile("v")) for n in names)
    found = [isinstance(row, Sample) for row in catalog.without_repeats(rows)]
    assert found == [n not in names[:i] for i, n in enumerate(names)]


def test_a_mixture_in_a_recipe(tmp_path):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", every(0.1, 12))
        rows_file(tmp_path / f"{name}.jsonl", [name])
    source = [{"name": "jsonl", "path": str(tmp_path / f"{n}.jsonl")} for n in ("a", "b")]
    config = PrepareConfig(sources=source, out=str(tmp_path / "o"), workers=1)
    summary = prepare(config)
    assert Prepared.open(tmp_path / "o").rows()["id"] == ["jsonl-0/a", "jsonl-1/b"]
    assert summary["by_source"] == {"jsonl": 2} and len(summary["sources"]) == 2
    assert 2 < summary["video_s"] < 2.5
