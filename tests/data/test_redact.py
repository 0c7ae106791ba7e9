"""What leaves this machine tells no folder of it and no secret."""

import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.card import dataset_card
from data.redact import redacted
from data.selection.config import FrameKeys
from data.sources import catalog
from data.sources.config import SourceKeys
from data.sources.known_sources import SOURCES
from tests.helpers.encoders import clip
from tests.helpers.hub import Seen, environment, serve
from tests.helpers.videos import every, run_command, write_video

SECRET = "s3cr3t"
PLANTED = [
    (f"s3://key:{SECRET}@bucket/rows.jsonl", "s3://bucket/rows.jsonl"),
    (f"s3://key:{SECRET}/x@bucket/rows.jsonl", "s3://"),
    (f"https://host:8443/a.parquet?sig={SECRET}#x", "https://host:8443/a.parquet"),
    (f"https://u:{SECRET}@host:8443/a", "https://host:8443/a"),
    (f"https://host/my clips/a?sig={SECRET}", "https://host/my clips/a"),
    (f"simplecache::s3://k:{SECRET}@b/x.zip", "simplecache::s3://b/x.zip"),
    (f"zip://a.mp4::s3://k:{SECRET}@b/x.zip", "zip://a.mp4::s3://b/x.zip"),
    (f"https://[{SECRET}", "https://"),
    (f"file:///home/{SECRET}/a.jsonl", "a.jsonl"),
    (f"/home/{SECRET}/clips", "clips"),
    (f"~/{SECRET}/clips", "clips"),
    (f"../{SECRET}/clips", "clips"),
    (f"C:\\Users\\{SECRET}\\clips", "clips"),
    (f"read s3://k:{SECRET}@b/x and /no", "read s3://b/x and /no"),
]


@pytest.mark.parametrize(("value", "shown"), PLANTED)
def test_each_kind_of_secret_goes(value, shown):
    assert redacted({"a": [{"b": value}]}) == {"a": [{"b": shown}]}


def test_places_are_known_by_their_keys(tmp_path):
    (tmp_path / "siglip").mkdir()
    for key in ("path", "videos", "data.path", "train.output", "prepared"):
        assert redacted({key: f"clients/{SECRET}/a"}) == {key: "a"}
    assert redacted({"ids": [f"lists/{SECRET}/ids.txt"]}) == {"ids": ["ids.txt"]}
    assert redacted({"encoder": str(tmp_path / "siglip")}) == {"encoder": "siglip"}
    assert redacted({"name": f"runs/{SECRET}"}, f"runs/{SECRET}") == {"name": SECRET}


def test_what_is_no_place_stays():
    same = {
        "name": "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "encoder": "google/siglip2-base-patch16-224",
        "ids": ["v_abc", "x/y"], "prompt": "/imagine ~ see https://a.b/?c=d", "lr": 1e-4, "none": None,
        "path": "hf://datasets/you/name@0123abc", "query": "/a dog", "text": "a/b or c",
    }  # fmt: skip
    assert redacted(same) == same


@given(st.text(), st.text())
def test_any_text_is_taken(key, value):
    json.dumps(redacted({key: value}))


@given(
    st.sampled_from(["s3", "https", "gs", "ftp"]),
    st.text("abc:/@?#%=&", max_size=8),
    st.text("abc:/@?#%=&", max_size=8),
)
def test_no_password_survives(scheme, before, after):
    value = f"{scheme}://user:{before}QQ{after}@bucket/rows"
    assert "QQ" not in redacted(value), value


@pytest.mark.slow
def test_nothing_of_this_machine_is_in_a_pushed_dataset(tmp_path):
    """Every kind that a source or a policy can bring, to the stand-in Hub and searched there."""
    home = tmp_path / SECRET
    clip(home / "encoder")
    (home / "clips").mkdir()
    write_video(home / "clips/a.mp4", every(0.1, 12))
    outside = write_video(home / "b.mp4", every(0.1, 14))
    rows = [
        {"video": "a.mp4", "description": "One."},
        {"video": str(outside), "description": "Two."},
        {"video": str(home / "clips/a.mp4"), "id": "c", "description": "Three."},
    ]
    (home / "clips/rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = home / "prepared"
    done = prepare(
        PrepareConfig(
            source=SourceKeys(name="jsonl", path=str(home / "clips/rows.jsonl")),
            frames=FrameKeys(policy="embedding", encoder=str(home / "encoder"), max=2, px=64),
            out=str(out),
            workers=1,
        )
    )
    assert done["rows"] == 3 and done["videos"] == 2
    repo, seen = tmp_path / "repo", Seen()
    repo.mkdir()
    with serve({}, {}, {"you/clips": repo}, seen=seen) as url:
        told = run_command(
            "scripts/push_dataset.py", f"data.path={out}", "hub.repo=you/clips",
            **environment(url, tmp_path / "home", HF_TOKEN="hf_x"),
        )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    table = pq.read_table(repo / "data/shard-00000.parquet")
    texts = [json.dumps(row, default=repr) for row in table.drop(["frames"]).to_pylist()]
    texts += [(repo / name).read_text() for name in ("README.md", "manifest.json")]
    assert not [text for text in texts if SECRET in text]
    assert json.loads(table["policy"][0].as_py())["encoder"] == "encoder"
    assert table["id"].to_pylist()[0] == "a" and table["id"].to_pylist()[1].startswith("b-")


def test_every_source_says_what_is_known_of_it(world):
    for name in SOURCES:
        assert catalog.about(name).credit
    manifest = json.loads((world / "manifest.json").read_text())
    told = dataset_card({**manifest, "by_source": {"mydataset": 24}}, "you/clips")
    assert "license: other" in told and "| mydataset | 24 |" in told
