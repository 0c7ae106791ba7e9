import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.sample import Event, Rejected, Sample, Turn
from data.sources import jsonl
from data.sources.config import SourceKeys


def read(path, *lines, limit=None):
    file = path / "rows.jsonl"
    file.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return list(jsonl.read(SourceKeys(name="jsonl", path=str(file), limit=limit)))


def test_own_rows(tmp_path):
    (sample,) = read(
        tmp_path,
        {"video": "a/b.mp4", "description": " A dog. ", "events": [[2, 3.5, "runs"], {"start_s": 0, "end_s": 2, "text": "sits"}],
         "id": 7, "prompt": "What?", "credit": "me", "unknown": [1]},
    )  # fmt: skip
    assert isinstance(sample, Sample)
    assert sample.video.path == str(tmp_path / "a/b.mp4") and sample.id == "7"
    assert sample.events == (Event(0, 2, "sits"), Event(2, 3.5, "runs"))
    assert (sample.description, sample.prompt, sample.credit) == ("A dog.", "What?", "me")


def test_llava_and_chat_rows(tmp_path):
    turns = [
        ("human", "<video>\nWhat happens?"),
        ("gpt", "A dog runs."),
        ("human", "Where?"),
        ("gpt", "In a park."),
    ]
    llava = {
        "id": "l",
        "video": ["x.mp4"],
        "conversations": [{"from": f, "value": v} for f, v in turns],
    }
    chat = {
        "id": "c",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "video", "path": "x.mp4"},
                    {"type": "text", "text": "What happens?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "A dog runs."}]},
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": "In a park."},
        ],
    }
    swift = {
        "id": "s",
        "messages": [
            {"role": r, "content": v}
            for r, v in (("user", "<video>What happens?"), ("assistant", "A dog runs."))
        ],
        "videos": ["x.mp4"],
    }
    for sample in read(tmp_path, llava, chat, swift):
        assert sample.video.path == str(tmp_path / "x.mp4")
        assert (sample.prompt, sample.description) == ("What happens?", "A dog runs.")
        assert sample.turns == (() if sample.id == "s" else (Turn("Where?", "In a park."),))
        assert sample.system == ("Be brief." if sample.id == "c" else "")


def test_a_json_list_is_read_too(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"video": "a.mp4", "description": "x"}]))
    (sample,) = jsonl.read(SourceKeys(name="jsonl", path=str(tmp_path / "rows.json")))
    assert sample.id == "a"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (b"{not json", "not JSON"),
        ([1], "an object"),
        ({"description": "x"}, "video is missing"),
        ({"video": 3, "description": "x"}, "video is missing"),
        ({"video": "http://x/y.mp4", "description": "x"}, "local file"),
        ({"video": "a.mp4"}, "nothing to learn"),
        ({"video": "a.mp4", "description": 3}, "description must be text"),
        ({"video": "a.mp4", "events": [[0, 1]]}, "events"),
        ({"video": "a.mp4", "events": [[True, "1", "x"]]}, "seconds or MM:SS"),
        ({"video": "a.mp4", "events": [[3, 1, "x"]]}, "ends before it starts"),
        (b'{"video": "a.mp4", "events": [[NaN, 1, "x"]]}', "time missing"),
        (b'{"video": "a.mp4", "events": [[0, 1e999, "x"]]}', "time missing"),
        ({"video": "a.mp4", "events": [[0, 1, " "]]}, "no text"),
        ({"video": "a\0.mp4", "description": "x"}, "NUL"),
        ({"video": "a.mp4", "conversations": [{"from": "gpt", "value": "x"}]}, "alternate"),
        ({"video": "a.mp4", "conversations": "x"}, "must be a list"),
        ({"video": ["a.mp4", "b.mp4"], "description": "x"}, "one video a row"),
    ],
)
def test_bad_rows_are_rejected_with_file_and_line(tmp_path, row, detail):
    good = {"video": "g.mp4", "description": "x"}
    rejected, sample = read(tmp_path, row, good)
    assert isinstance(sample, Sample)
    assert isinstance(rejected, Rejected) and rejected.reason == "bad row"
    assert "rows.jsonl:1" in rejected.detail and detail in rejected.detail


def test_limit_and_missing_file(tmp_path):
    rows = [{"video": f"{i}.mp4", "description": "x"} for i in range(5)]
    assert len(read(tmp_path, *rows, limit=2)) == 2
    with pytest.raises(UserError, match="no such file"):
        list(jsonl.read(SourceKeys(name="jsonl", path=str(tmp_path / "no"))))
    with pytest.raises(ValueError, match=r"needs source\.path"):
        SourceKeys(name="jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["from", "value", "role", "content", "type", "text", "path"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "id",
        "video",
        "videos",
        "events",
        "description",
        "prompt",
        "conversations",
        "messages",
        "credit",
    ]
)


@settings(max_examples=300, deadline=None)
@given(row=st.dictionaries(KEYS, JSON, max_size=6))
def test_any_json_is_a_sample_or_a_rejection(tmp_path_factory, row):
    (item,) = read(tmp_path_factory.mktemp("fuzz"), row)
    assert isinstance(item, Sample | Rejected)
    if isinstance(item, Sample):
        assert item.description or item.events
        (item.id + item.description + item.prompt).encode()  # plain Unicode, fit for a shard
