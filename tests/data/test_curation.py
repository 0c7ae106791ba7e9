"""Curation: what a frame looks like, which videos may be copies and which are, dull ones, the most different ones."""

import io
import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from data.bench.planted import CHANGES, measure_copies, plant
from data.config import load
from data.curation import command
from data.curation.command import curate
from data.curation.config import CurateConfig
from data.curation.dull import shares_of
from data.curation.looks import SAME, looks_of, mirrored, reduced
from data.curation.near import DISTANCE, candidates
from data.curation.spread import farthest_first
from data.curation.twins import Strip, aligned, is_copy
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.shards import SHARES, WINDOW, WITHOUT_SHARES, WITHOUT_WINDOWS
from data.selection.config import SELECTOR_PATHS, FrameKeys
from data.sources.config import SourceKeys
from data.video.h264 import write_h264
from tests.helpers.videos import run_command


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def scenery(seed, size=(160, 90)):
    """A picture of smooth colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def seen(encoded):
    return looks_of(reduced(encoded))


# --- looks -------------------------------------------------------------------------------------


def test_what_a_copy_looks_like_is_what_the_picture_does():
    for seed in range(10):
        picture = scenery(seed)
        looks = seen(encoded(picture))
        assert np.linalg.norm(looks) == pytest.approx(1, abs=1e-4)
        cut = picture.crop((4, 2, 156, 88))
        for copy in (
            encoded(picture, "JPEG", quality=20),
            encoded(picture.resize((64, 36))),
            encoded(cut.resize((160, 90))),
            encoded(picture.point(lambda v: min(255, int(1.1 * v)))),
        ):
            assert seen(copy) @ looks > SAME
        assert seen(encoded(scenery(seed + 100))) @ looks < 0.9


def test_a_mirrored_picture_is_known_without_looking_again():
    picture = scenery(3)
    turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert mirrored(seen(encoded(picture))) == pytest.approx(seen(encoded(turned)), abs=2e-3)


# --- candidates --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.booleans())
def test_videos_with_a_frame_alike_are_candidates(seed, count, turned):
    rng = np.random.default_rng(seed)
    hashes = [rng.integers(0, 2**63, int(rng.integers(1, 6)), np.uint64) for _ in range(count)]
    mirrors = [rng.integers(0, 2**63, len(h), np.uint64) for h in hashes]
    flips = rng.choice(64, 2, replace=False).tolist()
    near = int(hashes[0][0]) ^ sum(1 << bit for bit in flips)
    (mirrors if turned else hashes)[-1][0] = np.uint64(near)
    found = candidates(hashes, mirrors)
    assert (0, count - 1) in found
    assert found == sorted(set(found)) and all(a < b for a, b in found)


def test_candidates_differ_little():
    rng = np.random.default_rng(0)
    hashes = [rng.integers(0, 2**63, 1, np.uint64) for _ in range(300)]
    for a, b in candidates(hashes, [np.bitwise_invert(h) for h in hashes]):
        apart = [np.bitwise_count(hashes[a][0] ^ h) for h in (hashes[b][0], ~hashes[b][0])]
        assert min(apart) <= DISTANCE


def test_a_thousand_videos_of_one_picture_do_not_pair_each_with_each():
    same = [np.zeros(4, np.uint64)] * 1000
    assert 1000 <= len(candidates(same, same)) < 1000 * 80


# --- the same in time --------------------------------------------------------------------------


def strip_of(scenes, times_s, length_s):
    """A frame of its scene at each time; `scenes`: (start in seconds, seed of its picture)."""
    starts = np.array([start for start, _ in scenes])
    rng = [np.random.default_rng(seed).normal(size=96) for _, seed in scenes]
    looks = [rng[int(np.searchsorted(starts, t, side="right")) - 1] for t in times_s]
    looks = np.array([v / np.linalg.norm(v) for v in looks])
    return Strip(np.array(times_s), looks, length_s)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.8, 1.25), st.floats(0, 0.2), st.booleans())
def test_a_copy_cut_and_faster_is_aligned(seed, speed, cut, turned):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 8))
    starts = np.r_[0.0, np.cumsum(rng.uniform(2, 6, count - 1))]
    length_s = float(starts[-1] + 4)
    scenes = [(float(s), 10 * seed + k) for k, s in enumerate(starts)]
    a = strip_of(scenes, sorted(rng.uniform(0, length_s, 16)), length_s)
    assume(len(set(np.searchsorted(starts, a.times_s, side="right"))) == count)
    from_s = cut * length_s
    kept = a.times_s >= from_s
    looks = mirrored(a.looks[kept]) if turned else a.looks[kept]
    b = Strip((a.times_s[kept] - from_s) / speed, looks, (length_s - from_s) / speed)
    found = aligned(a, b)
    assert found is not None and found.mirrored is turned
    first = int((~kept).sum())
    scene = np.searchsorted(starts, a.times_s, side="right")
    assert all(scene[x] == scene[y + first] for x, y in found.pairs)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_one_scene_in_common_makes_no_copy(seed):
    times_s = np.linspace(0.5, 19.5, 16)
    a = strip_of([(0, seed), (7, seed + 1), (12, seed + 2)], times_s, 20.0)
    b = strip_of([(0, seed + 3), (7, seed + 1), (14, seed + 4)], times_s, 20.0)
    found = aligned(a, b)
    assert found is None or not is_copy(found, lambda _: b"", lambda _: b"")


def test_a_video_without_frames_is_no_copy():
    empty = Strip(np.zeros(0), np.zeros((0, 96)), 3.0)
    assert aligned(empty, empty) is None


# --- dull --------------------------------------------------------------------------------------


def looked(jpegs):
    return np.stack([seen(jpeg) for jpeg in jpegs])


def test_black_still_and_slides_are_told_apart():
    black = encoded(Image.new("RGB", (160, 90), (6, 6, 8)), "JPEG")
    sceneries = [encoded(scenery(k), "JPEG") for k in range(4)]
    slide = Image.new("RGB", (640, 360), "white")
    draw = ImageDraw.Draw(slide)
    for line in range(8):
        draw.text(
            (40, 30 + 38 * line), "what is new in this version, and why", "black", font_size=22
        )
    shape = Image.new("RGB", (640, 360), "white")
    ImageDraw.Draw(shape).rectangle((200, 100, 380, 260), fill="red")

    def shares(*jpegs, length_s=8.0):
        row = {"start_s": 0.0, "end_s": length_s, **dict.fromkeys(SHARES)}
        found = shares_of(row, jpegs, list(map(reduced, jpegs)), looked(jpegs))
        return found.black, found.still, found.slides

    assert shares(*sceneries) == (0, 0, 0)
    assert shares(black, *sceneries[:3]) == (0.25, 0, 0)
    assert shares(sceneries[0], sceneries[0], sceneries[0], sceneries[1])[1] == pytest.approx(2 / 3)
    assert shares(encoded(slide, "JPEG"), encoded(shape, "JPEG"))[2] == 0.5
    assert shares(sceneries[0])[1] == 1 and shares(sceneries[0], length_s=1.0)[1] == 0
    row = {"start_s": 0.0, "end_s": 3.0, **dict.fromkeys(SHARES)}
    assert shares_of(row, [], [], np.zeros((0, 96))).black == 0


def test_what_was_measured_of_every_frame_counts(tmp_path):
    """Of videos of which a policy would choose frames that differ, most may stand still all the same."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 256, (12, 60, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    films = {
        "still": [wide[:, :96]] * 60,
        "slow pan": [wide[:, n // 2 : n // 2 + 96] for n in range(60)],
        "two slides": [wide[:, 96 * (n // 30) : 96 * (n // 30) + 96] for n in range(60)],
        "black": [np.zeros((96, 96, 3), np.uint8)] * 60,
        "black, then not": [wide[:, n : n + 96] if n >= 30 else np.zeros((96, 96, 3), np.uint8) for n in range(60)],
        "short": [wide[:, 8 * n : 8 * n + 96] for n in range(5)],
    }  # fmt: skip
    for name, film in films.items():
        write_h264(tmp_path / f"{name}.mp4", iter(film), rate=10)
    lines = [{"video": f"{name}.mp4", "description": "A film."} for name in films]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    argv = ["source=jsonl", f"source.path={tmp_path}/rows.jsonl", f"out={tmp_path}/data"]
    prepare(load(PrepareConfig, [*argv, "frames.px=96", "workers=1"]))
    rows = {row["id"]: row for row in Prepared.open(tmp_path / "data").rows()}
    still = {name: row["still_share"] for name, row in rows.items()}
    black = {name: row["black_share"] for name, row in rows.items()}
    assert still["still"] == still["black"] == 1 and still["slow pan"] == 0
    assert still["two slides"] == pytest.approx(0.8, abs=0.02)  # 40 of 50
    assert still["short"] == pytest.approx(0, abs=0.01)
    assert black == pytest.approx({**dict.fromkeys(films, 0), "black": 1, "black, then not": 0.5})
    given = [f"data.path={tmp_path}/data", "copies=keep", "still=0.7", "black=null"]
    curate(load(CurateConfig, [*given, f"out={tmp_path}/moving"]))
    dropped = [json.loads(line) for line in (tmp_path / "moving/dropped.jsonl").open()]
    assert {one["id"] for one in dropped} == {"still", "two slides", "black"}

    # a dataset of the version before: shares of the stored frames
    for shard in (tmp_path / "data").glob("shard-*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns(list(SHARES)), shard)
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    older = json.dumps({**manifest, "format_version": WITHOUT_SHARES})
    (tmp_path / "data/manifest.json").write_text(older)
    assert "still_share" not in Prepared.open(tmp_path / "data").rows().column_names
    curate(load(CurateConfig, [*given, f"out={tmp_path}/older"]))
    kept = Prepared.open(tmp_path / "older").rows()
    assert kept["still_share"] == [None] * len(kept) and "two slides" in kept["id"]


# --- the most different ------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 4))
def test_farthest_first_leaves_no_gap_of_twice_the_best(seed, count, kept):
    points = np.random.default_rng(seed).normal(size=(count, 2))
    chosen = farthest_first(points, kept)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(kept, count)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)

    def gap(some):
        return apart[:, list(some)].min(axis=1).max()

    best = min(gap(some) for some in combinations(range(count), len(chosen)))
    assert gap(chosen) <= 2 * best + 1e-5


def test_equal_points_are_chosen_once_each():
    assert farthest_first(np.zeros((5, 3)), 4) == sorted(set(farthest_first(np.zeros((5, 3)), 4)))


# --- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """16 videos, with a copy of each of the first 11: one of every kind."""
    place = tmp_path_factory.mktemp("curate")
    listed = plant(place, 16, len(CHANGES), seed=3)
    prepare(
        PrepareConfig(
            source=SourceKeys(name="jsonl", path=str(listed), videos=str(place / "videos")),
            frames=FrameKeys(max=16, px=96),
            out=str(place / "data"),
            shard_rows=10,
        )
    )
    return place


def keys(place, out, *argv):
    given = [f"data.path={place / 'data'}", f"out={place / out}", "workers=1", *argv]
    return load(CurateConfig, given)


def told(place, out):
    return [json.loads(line) for line in (place / out / "dropped.jsonl").open(encoding="utf-8")]


def bytes_of(folder: Path):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


@pytest.mark.slow
def test_copies_are_dropped_and_the_same_again(place, monkeypatch):
    manifest = curate(keys(place, "clean"))
    lost = told(place, "clean")
    assert len(lost) >= 9 and {line["reason"] for line in lost} == {"copy"}
    assert all(line["id"].split("/")[0] == line["twin"].split("/")[0] for line in lost)
    rows = Prepared.open(place / "clean").rows()
    assert len(rows) == manifest["rows"] == 27 - len(lost)
    assert not {line["id"] for line in lost} & set(rows["id"])
    assert {line["twin"] for line in lost} <= set(rows["id"])
    # a video and its copy cut at an end: the longer one stays
    assert not any(name.endswith(("start", "end")) for name in {line["twin"] for line in lost})
    assert manifest["curated"]["rows_before"] == 27
    page = (place / "clean/dropped.html").read_text()
    assert page.count('class="sheet"') == 2 * len(lost)

    before = bytes_of(place / "clean")
    assert curate(keys(place, "clean"))["finished"]  # done: nothing is looked at
    monkeypatch.setattr(
        command, "_write_dropped", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        curate(keys(place, "killed"))
    monkeypatch.undo()
    with pytest.raises(UserError, match="has not finished"):
        Prepared.open(place / "killed")
    curate(keys(place, "killed"))
    assert bytes_of(place / "killed") == before
    with pytest.raises(UserError, match=r"a dataset made otherwise \(copies differs\)"):
        curate(keys(place, "clean", "copies=keep"))


def test_copies_in_one_group_are_on_one_side_of_a_split(place):
    from train.batches.split import split

    curate(keys(place, "grouped", "copies=group"))
    rows = Prepared.open(place / "grouped").rows()
    assert len(rows) == 27
    group_of = dict(zip(rows["id"], rows["video_id"], strict=True))
    whole = told_groups(group_of)
    assert sum(len(g) > 1 for g in whole.values()) >= 9
    held = set(split(rows, 0.3, 100).held)
    for members in whole.values():
        sides = {rows["id"].index(name) in held for name in members}
        assert len(sides) == 1


def told_groups(group_of):
    found = {}
    for name, group in group_of.items():
        found.setdefault(group, set()).add(name)
    for members in found.values():
        assert len({name.split("/")[0] for name in members}) == 1
    return found


def test_a_selector_travels_and_rows_without_windows_get_theirs(place, tmp_path):
    old = shutil.copytree(place / "data", tmp_path / "data")
    for name in SELECTOR_PATHS:
        (old / name).parent.mkdir(exist_ok=True)
        (old / name).write_bytes(name.encode())
    for shard in old.glob("shard-*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns([*WINDOW, *SHARES]), shard)
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "format_version": WITHOUT_WINDOWS}))
    curate(keys(tmp_path, "new", "copies=keep"))
    assert all((tmp_path / "new" / name).read_bytes() == name.encode() for name in SELECTOR_PATHS)
    rows = Prepared.open(tmp_path / "new").rows()
    assert rows["sample_id"] == rows["id"] and rows["end_s"] == rows["duration_s"]


def test_a_folder_of_something_else_is_not_overwritten(place, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    given = [f"data.path={place / 'data'}", f"out={tmp_path}", "overwrite=true"]
    with pytest.raises(UserError, match="holds no dataset"):
        curate(load(CurateConfig, given))


@pytest.mark.slow
def test_what_is_elsewhere_is_dropped(place):
    curate(keys(place, "alone"))
    kept = set(Prepared.open(place / "alone").rows()["id"])
    with pytest.raises(UserError, match="nothing would be left"):
        curate(keys(place, "unseen", f"against={place / 'alone'}"))
    curate(keys(place, "few", "subset=4"))
    few = Prepared.open(place / "few").rows()
    assert len(few) == 4 and set(few["id"]) <= kept
    curate(keys(place, "unseen", f"against={place / 'few'}"))
    unseen = {name.split("/")[0] for name in Prepared.open(place / "unseen").rows()["id"]}
    assert not unseen & {name.split("/")[0] for name in few["id"]} and len(unseen) >= 10
    assert "copy of a video elsewhere" in {line["reason"] for line in told(place, "unseen")}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["out=x"], "data"),
        (["data.path=x", "out=x"], "is the dataset itself"),
        (["data.path=x", "out=y", "against=z", "copies=keep"], "leave out copies=keep"),
        (["data.path=x", "out=y", "black=2"], "black"),
        (["data.path=nowhere", "out=y"], "no prepared dataset there"),
        (["data.path={data}", "out=y", "against=nowhere"], "against=nowhere: no prepared dataset"),
        (["data.path={data}", "out=y", "marks=nowhere"], "marks=nowhere: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(argv, line, place):
    done = run_command("scripts/curate.py", *(word.format(data=place / "data") for word in argv))
    assert done.returncode == 2 and line in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_planted_copies_are_found(tmp_path):
    figures = measure_copies(tmp_path, videos=180, copies=66, frames=16, seed=5)
    assert figures["copies/recall"] >= 0.93 and figures["copies/precision"] >= 0.97, figures
