"""FineVideo: its real schema with its oddities, filters, layouts, and rows of nonsense."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.media import ParquetCell, VideoFile
from data.offline.prepare import sources_of
from data.offline.unpack import Unpacker
from data.sample import FilteredOut, Rejected, Sample
from data.sources import finevideo
from data.sources.catalog import describe_sources, same_rows
from data.sources.config import SourceKeys
from data.sources.known_sources import SOURCES
from data.sources.parse import Span, clean_events, clock_s
from tests.helpers import finevideo as made
from tests.helpers.videos import ROOT

SAMPLE_ROW = ROOT.parent / "shared" / "samples" / "finevideo_row.json"


def told(row, **keys):
    found = finevideo.sample_of(
        row, SourceKeys(name="finevideo", **keys), VideoFile("v.mp4"), "here"
    )
    assert isinstance(found, Sample), found
    return found


def test_the_sample_row_of_the_schema():
    if not SAMPLE_ROW.is_file():
        pytest.skip("no sample row beside this checkout")
    row = json.loads(SAMPLE_ROW.read_text())["json"]
    sample = told(row)
    assert [(e.start_s, e.end_s) for e in sample.events] == [(0.0, 21.455), (21.488, 73.54)]
    assert sample.events[0].text.startswith(
        "Washing the Tomatoes. Lena greets the camera. Lena washes"
    )
    assert "Seen: Two red tomatoes, Red apron." in sample.description
    assert (
        "“2 minute tomato salad” by LenaCooksExample" in sample.credit and "CC BY" in sample.credit
    )
    activities = told(row, level="activity")
    assert len(activities.events) == 4
    assert {r.what: r.count for r in activities.repairs} == {"no length": 1, "time missing": 1}
    full = told(row, qa=True, speech_context=True)
    assert len(full.turns) == 5 and full.turns[0].answer == "Red."
    assert (
        full.context.splitlines()[1] == "[00:00 - 00:04] Hi everyone, today we make a tomato salad."
    )


def test_repairs_are_as_many_as_were_planted():
    """1,200 rows, 9,600 activities, each oddity at about the rate it has in the real dataset."""
    planted, counted, events = Counter(), Counter(), 0
    for index in range(1200):
        duration_s = 20 + index % 600
        sample = told(made.row(index, duration_s, planted), level="activity")
        counted.update({r.what: r.count for r in sample.repairs})
        starts = [e.start_s for e in sample.events]
        assert starts == sorted(starts)
        assert all(0 <= e.start_s < e.end_s <= duration_s + 1 for e in sample.events)
        events += len(sample.events)
    assert counted == planted and len(planted) == 6 and min(planted.values()) >= 10
    assert events > 8000


def test_a_scene_tells_what_happens_once():
    row = made.row(3, 60)
    scene = row["content_metadata"]["scenes"][0]
    scene["activities"] = [
        {"description": "The coach explains the rules", "timestamp": made.span(0, 4)},
        {"description": "A boy kicks a ball", "timestamp": made.span(6, 9)},
        {"description": "a boy kicks the ball.", "timestamp": made.span(4, 5)},
    ]
    scene["mood"] = {"description": "Tense. It could go wrong."}
    assert told(row).events[0].text == "A boy kicks the ball."
    assert told(row, speech="keep").events[0].text.count("explains") == 1
    text = told(row).description
    assert text.startswith("Somebody works in yard 3. A boy kicks the ball.")
    assert "Mood: Tense." in text and "neutral" not in text and "explains" not in text
    left = told(row, level="activity").repairs
    assert {r.what: r.count for r in left}["speech left out"] == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("00:01:05.250", 65.25), ("01:05", 65.0), ("7.5", 7.5), (12, 12.0), (" 00:00:00.000 ", 0.0),
        (None, None), ("", None), ("throughout", None), ("-1", None), (-3, None), ("1:2:3:4", None),
        (float("nan"), None), (True, None), ([], None), ("00:00:1e9", None),
    ],
)  # fmt: skip
def test_clocks(value, seconds):
    assert clock_s(value) == seconds


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-5, 120, allow_nan=False),
            st.none() | st.floats(-5, 120, allow_nan=False),
            st.sampled_from(["a", "b", ""]),
        )
    ),
    st.none() | st.floats(0.1, 100),
)
def test_mended_events_are_sorted_inside_and_long(spans, duration_s):
    events, repairs = clean_events([Span(*s) for s in spans], duration_s)
    starts = [(e.start_s, e.end_s) for e in events]
    assert starts == sorted(starts)
    assert all(e.start_s < e.end_s <= (duration_s or 121) for e in events)
    lost = sum(r.count for r in repairs if r.what not in ("cut at the video's end", "out of order"))
    assert len(events) + lost == len(spans)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["00:00:01.000", "00:00:00.000", "99:99:99.999", "\ud800", "null"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["content_metadata", "scenes", "title", "timestamps", "timestamp", "start_timestamp", "end_timestamp", "activities", "description", "props", "name", "mood", "narrativeProgression", "qAndA", "question", "answer", "duration_seconds", "timecoded_text_to_speech", "start", "end", "text", "original_video_filename", "youtube_title"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


def _holed(row, path, value):
    """The row with something else at a place deep inside it."""
    at = row
    for step in path[:-1]:
        at = at[step % len(at)] if isinstance(at, list) else list(at.values())[step % len(at)]
        if not isinstance(at, dict | list) or not at:
            return row
    if isinstance(at, list):
        at[path[-1] % len(at)] = value
    else:
        at[list(at)[path[-1] % len(at)]] = value
    return row


@settings(max_examples=800, deadline=None)
@given(st.data())
def test_rows_of_nonsense_never_raise(data):
    nonsense(data)


@pytest.mark.slow
@settings(max_examples=4_000, deadline=None)
@given(st.data())
def test_thousands_of_rows_of_nonsense_never_raise(data):
    nonsense(data)


def nonsense(data):
    """Nonsense from the ground up, and real rows with nonsense somewhere inside."""
    if data.draw(st.booleans()):
        row = data.draw(JSON)
    else:
        path = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=7))
        row = _holed(made.row(data.draw(st.integers(0, 50)), 30), path, data.draw(JSON))
    level = data.draw(st.sampled_from(["scene", "activity"]))
    keys = SourceKeys(
        name="finevideo", level=level, qa=True, speech_context=True, min_av_correlation=0.1
    )
    found = finevideo.sample_of(row, keys, VideoFile("v.mp4"), "here")
    assert isinstance(found, Sample | Rejected | FilteredOut)
    if isinstance(found, Sample):
        starts = [e.start_s for e in found.events]
        assert starts == sorted(starts) and (found.events or found.description)
        json.dumps([found.description, found.credit, found.metadata]).encode("utf-8")


# --- layouts ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    return [made.row(i, 20 + 10 * i) for i in range(30)]


def read(path, **keys):
    return list(finevideo.read(SourceKeys(name="finevideo", path=str(path), **keys)))


def test_parquet_and_the_cards_dump_tell_the_same(rows, tmp_path):
    videos = [f"video {i}".encode() * 100 for i in range(30)]
    made.write_parquet(tmp_path / "p/data/train-00000-of-00002.parquet", rows[:20], videos[:20])
    made.write_parquet(tmp_path / "p/data/train-00001-of-00002.parquet", rows[20:], videos[20:])
    (tmp_path / "p/README.md").write_text("x")
    made.write_dump(tmp_path / "d", rows, videos)
    one, other = read(tmp_path / "p"), read(tmp_path / "d")
    assert [s.id for s in one] == [f"yt{i:09d}" for i in range(30)] == [s.id for s in other]
    assert [s.events for s in one] == [s.events for s in other]
    unpacker = Unpacker(tmp_path)
    for i in (0, 7, 8, 19, 20, 29, 3):  # forward, across groups and files, and back
        assert isinstance(one[i].video, ParquetCell)
        assert Path(unpacker.to_local_file(one[i].video).path).read_bytes() == videos[i]
        assert Path(other[i].video.path).read_bytes() == videos[i]
    assert finevideo.count(SourceKeys(name="finevideo", path=str(tmp_path / "p"))) == 30
    assert len(read(tmp_path / "p", limit=4)) == 4
    mixed = [s.id for s in read(tmp_path / "p", shuffle_seed=1)]
    assert sorted(mixed) == sorted(s.id for s in one)


def test_videos_as_datasets_stores_them_and_json_as_text(rows, tmp_path):
    table = pa.table(
        {
            "extra": [1, 2],
            "json": [json.dumps(r) for r in rows[:2]],
            "mp4": [{"bytes": b"one", "path": "a.mp4"}, {"bytes": None, "path": "b.mp4"}],
        }
    )
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    samples = read(tmp_path)
    assert [s.id for s in samples] == ["yt000000000", "yt000000001"]
    unpacker = Unpacker(tmp_path)
    assert Path(unpacker.to_local_file(samples[0].video).path).read_bytes() == b"one"
    with pytest.raises(Exception, match="no bytes"):
        unpacker.to_local_file(samples[1].video)


def test_a_renamed_column_is_one_line(rows, tmp_path):
    pq.write_table(pa.table({"video": [b"x"], "meta": [rows[0]]}), tmp_path / "train-0.parquet")
    with pytest.raises(
        UserError, match=r"no column 'json', 'mp4'; it has video, meta\. Was it renamed"
    ):
        read(tmp_path)
    (tmp_path / "train-0.parquet").write_text("no table")
    with pytest.raises(UserError, match="no Parquet file"):
        read(tmp_path)
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=r"no such file or folder|holds no"):
            read(path)


def kept(rows, tmp_path, **keys):
    file = tmp_path / "train-00000.parquet"
    if not file.exists():
        made.write_parquet(file, rows, [b"x"] * len(rows))
    found = read(tmp_path, **keys)
    left = Counter(f.why for f in found if isinstance(f, FilteredOut))
    return [f for f in found if isinstance(f, Sample)], left


def test_filters_count_what_they_leave_out(rows, tmp_path):
    samples, left = kept(rows, tmp_path, category="Football")
    assert len(samples) == 10 and left == {"of another category": 20}
    assert len(kept(rows, tmp_path, parent_category=["Sports", "Lifestyle"])[0]) == 30
    samples, left = kept(rows, tmp_path, min_duration_s=100, max_duration_s=200)
    assert len(samples) == 11 and left == {"too short": 8, "too long": 11}
    (tmp_path / "ids.txt").write_text("yt000000004\n\nyt000000009\n")
    samples, _ = kept(rows, tmp_path, ids=str(tmp_path / "ids.txt"))
    assert [s.id for s in samples] == ["yt000000004", "yt000000009"]
    samples, left = kept(rows, tmp_path, min_av_correlation=0.85)
    assert 0 < len(samples) < 30 and left["sound and picture do not match"] == 30 - len(samples)
    assert len(kept(rows, tmp_path, category="Football", limit=3)[0]) == 3


def test_every_video_is_in_one_split(rows, tmp_path):
    found = {
        split: {s.id for s in kept(rows, tmp_path, split=split, shares=[0.6, 0.2, 0.2])[0]}
        for split in ("train", "validation", "test")
    }
    assert sum(map(len, found.values())) == 30 == len(set.union(*found.values()))
    assert len(found["train"]) > len(found["test"]) > 0
    everything = [finevideo.split_of(f"id{i}", (0.9, 0.05, 0.05)) for i in range(20_000)]
    assert Counter(everything)["validation"] / 20_000 == pytest.approx(0.05, abs=0.006)


def test_language_of_the_speech(rows, tmp_path):
    pytest.importorskip("lingua")
    rows = [dict(r) for r in rows[:3]]
    rows[1]["text_to_speech"] = "guten tag heute bauen wir zusammen ein haus aus holz im garten"
    rows[2]["text_to_speech"] = "[Music]"
    assert [s.id for s in kept(rows, tmp_path, language="de")[0]] == ["yt000000001"]
    assert [s.id for s in kept(rows, tmp_path, language=["en", "none"])[0]] == [
        "yt000000000",
        "yt000000002",
    ]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"videos": "x"}, "videos: no key of source=finevideo, but of"),
        ({"shares": [0.5, 0.2, 0.2]}, "must add up to 1"),
        ({"min_duration_s": 9, "max_duration_s": 3}, "no video is both"),
        ({"level": "shot"}, "'scene' or 'activity'"),
        ({"shares": [2, -1, 0]}, "less than or equal to 1"),
    ],
)
def test_keys_that_do_not_fit(keys, words):
    with pytest.raises(ValueError, match=words):
        SourceKeys(name="finevideo", **keys)


def test_texts_of_before_are_not_finished_with_those_of_now(rows, tmp_path):
    """A run that was begun when the notes became other sentences is another run."""
    made.write_dump(tmp_path / "d", rows[:2], [b"x"] * 2)
    (record,) = describe_sources([SourceKeys(name="finevideo", path=str(tmp_path / "d"))])
    assert record["texts"] == SOURCES["finevideo"].texts == 3
    (again,) = sources_of({"sources": [record]})
    assert again.name == "finevideo" and same_rows([record], [{**record, "texts": 1}])
    assert not same_rows([record], [{**record, "limit": 3}]) and not same_rows("nonsense", [record])
