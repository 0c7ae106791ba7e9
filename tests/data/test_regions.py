"""One subject of a video: boxes read, followed and drawn where people see it; stretches without it."""

import io
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.regions import ABSENT, PROMPT, Seen, absences, box_at, marks_of, parse_boxes
from data.sample import Event
from data.selection.outline import with_outline
from data.video.h264 import write_h264
from tests.helpers.videos import HEIGHT, WIDTH, every, write_video

numbers = st.floats(-3, 3, allow_nan=False)
entries = st.one_of(
    st.tuples(st.floats(0, 60), numbers, numbers, numbers, numbers).map(list),
    st.floats(0, 60).map(lambda t: [t]),
    st.lists(st.one_of(numbers, st.text(max_size=2), st.none()), max_size=6),
)


@settings(max_examples=200)
@given(st.lists(entries, max_size=6))
def test_whatever_is_given_is_a_track_or_one_line(value):
    try:
        track = parse_boxes(value)
    except ValueError as error:
        assert "boxes" in str(error) and "\n" not in str(error)
        return
    times = [one.time_s for one in track]
    assert times == sorted(set(times))
    for one in track:
        if one.box is not None:
            x1, y1, x2, y2 = one.box
            assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[0, 0.2, 0.2, 0.2, 0.5]], "no area"),
        ([[0, 1.1, 0.2, 1.4, 0.5]], "no area inside the picture"),
        ([[0, 10, 20, 300, 400]], "divide pixels"),
        ([[0, 0.5, 0.5, 0.1, 0.1]], "no area"),
        ([[2, 0, 0, 1, 1], [1, 0, 0, 1, 1]], "is not after 2 s"),
        ([[0]], "nowhere in view"),
        ([[0, 0, 0, float("nan"), 1]], "finite"),
        ([[-1, 0, 0, 1, 1]], "finite"),
        ("x", "must be a list"),
        ([], "must be a list"),
    ],
)  # fmt: skip
def test_boxes_that_are_none_are_one_line(value, said):
    with pytest.raises(ValueError, match=said):
        parse_boxes(value)


def test_the_subject_is_followed_between_boxes_and_gone_where_it_is_gone():
    track = parse_boxes([[1, 0, 0, 0.2, 0.2], [3, 0.4, 0, 0.6, 0.2], [5], [8, 0.8, 0.8, 1.5, 1]])
    assert box_at(track, 2.0) == pytest.approx((0.2, 0, 0.4, 0.2))
    assert box_at(track, 4.9) == (0.4, 0, 0.6, 0.2)
    assert box_at(track, 5.0) is None and box_at(track, 7.0) is None
    assert box_at(track, 8.3) == (0.8, 0.8, 1, 1) and box_at(track, 8.6) is None
    assert box_at(track, 0.6) == (0, 0, 0.2, 0.2) and box_at(track, 0.4) is None
    events = [Event(1, 3, "it waits"), Event(3.5, 5.5, "it leaves")]
    told = absences(track, events, 20.0)
    assert [(e.start_s, e.end_s) for e in told] == [(0, 1), (5.5, 8), (8, 20)]
    assert {e.text for e in told} == {ABSENT}
    assert absences((Seen(0.0, (0, 0, 1, 1)),), events, 20.0) == []  # one box says where, not when


@given(st.lists(st.floats(0, 30), min_size=1, max_size=8, unique=True), st.floats(0, 60))
def test_a_box_at_a_time_that_no_frame_has_marks_the_nearest(times_s, time_s):
    times_s = sorted(times_s)
    marks = marks_of(parse_boxes([[time_s, 0.1, 0.1, 0.2, 0.2]]), times_s, first_only=True)
    assert sum(mark is not None for mark in marks) == 1
    nearest = min(abs(t - time_s) for t in times_s)
    chosen = abs(times_s[[m is not None for m in marks].index(True)] - time_s)
    assert chosen <= max(nearest, 0.5)


@pytest.mark.parametrize(
    "box", [(0.25, 0.25, 0.5, 0.5), (0, 0, 0.5, 0.5), (0.6, 0.6, 1, 1), (0, 0, 1, 1), (0.5, 0.5, 0.5001, 0.5001)]
)  # fmt: skip
def test_the_line_lies_outside_the_box_and_inside_the_picture(box):
    buffer = io.BytesIO()
    Image.new("RGB", (400, 200), (128, 128, 128)).save(buffer, "JPEG")
    drawn = np.asarray(Image.open(io.BytesIO(with_outline(buffer.getvalue(), box, "red"))), int)
    red = (drawn[..., 0] > 180) & (drawn[..., 1] < 80)
    rows, columns = np.nonzero(red)
    x1, y1, x2, y2 = (round(e * side) for e, side in zip(box, (400, 200) * 2, strict=True))
    assert abs(columns.min() - max(0, x1 - 2)) <= 1 and abs(rows.min() - max(0, y1 - 2)) <= 1
    assert abs(columns.max() - min(399, max(x2 + 1, x1 + 1))) <= 2
    inside = red[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3]
    assert not inside.any() or box == (0, 0, 1, 1)


# --- through prepare ----------------------------------------------------------------------------


def prepared(tmp_path, rows, *more):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = [
        "source=jsonl",
        f"source.path={tmp_path}/rows.jsonl",
        f"out={tmp_path}/data",
        "workers=1",
    ]
    prepare(load(PrepareConfig, [*argv, "frames.policy=fps", "frames.max=40", *more]))
    return Prepared.open(tmp_path / "data").rows()


def lined(row, colour=(255, 0, 0)):
    """Of each frame the middle of what has the line's colour, as fractions; None: nothing has."""
    found = []
    for frame in row["frames"]:
        picture = np.asarray(Image.open(io.BytesIO(frame["bytes"])).convert("RGB"), int)
        y, x = np.nonzero(np.abs(picture - colour).max(axis=2) < 70)
        height, width = picture.shape[:2]
        middle = (
            ((x.min() + x.max()) / 2 / width, (y.min() + y.max()) / 2 / height) if len(x) else None
        )
        found.append(middle)
    return found


def test_each_subject_is_marked_in_its_own_row_and_asked_about(tmp_path):
    grey = np.full((96, 160, 3), 120, np.uint8)
    write_h264(tmp_path / "a.mp4", iter([grey] * 100), rate=10)
    events = [[0, 4, "a man waves."]]
    rows = [
        {"video": "a.mp4", "events": events, "boxes": [[0, 0.1, 0.1, 0.3, 0.4], [4, 0.5, 0.1, 0.7, 0.4], [4.5]]},
        {"video": "a.mp4", "events": events, "boxes": [[2, 0.6, 0.6, 0.9, 0.9]], "prompt": "And this one?"},
        {"video": "a.mp4", "description": "One box on an event.",
         "events": [{"start_s": 5, "end_s": 9, "text": "it sits.", "boxes": [[5, 0, 0.5, 0.2, 1], [9, 0, 0.5, 0.2, 1]]}]},
        {"video": "a.mp4", "events": events, "boxes": [[0, 5, 5, 9, 9]], "id": "pixels"},
    ]  # fmt: skip
    first, second, third = prepared(tmp_path, rows)
    assert first["prompt"] == PROMPT and second["prompt"] == "And this one?"
    assert len({row["id"] for row in (first, second)}) == 2
    assert len({row["video_id"] for row in (first, second, third)}) == 1
    marked = dict(zip(first["times_s"], lined(first), strict=True))
    for time_s, middle in marked.items():
        if time_s < 4.5:
            where = 0.2 + 0.1 * min(time_s, 4.0)
            assert middle == pytest.approx((where, 0.25), abs=0.04), time_s
        else:
            assert middle is None, time_s
    told = [(e["start_s"], e["end_s"], e["text"]) for e in first["events"]]
    assert told == [(0, 4, "a man waves."), (4.5, 10, ABSENT)]
    assert json.loads(first["metadata"])["boxes"][2] == [4.5, None]
    assert sum(mark is not None for mark in lined(second)) in (1, 2) and len(second["events"]) == 1
    assert [t for t, mark in zip(third["times_s"], lined(third), strict=True) if mark] == [
        t for t in third["times_s"] if 4.5 <= t <= 9.5
    ]
    lost = [json.loads(line) for line in (tmp_path / "data/quarantine.jsonl").open()]
    assert [one["id"] for one in lost] == ["pixels"] and "divide pixels" in lost[0]["detail"]


@pytest.mark.parametrize(
    ("turn", "pixels"), [(0, 1), (1, 1), (2, 1), (3, 1), (0, Fraction(4, 3)), (1, Fraction(16, 11))]
)
def test_boxes_are_of_the_picture_as_people_see_it(tmp_path, turn, pixels):
    write_video(tmp_path / "a.mp4", every(0.1, 3), turn=turn, pixels=Fraction(pixels))
    box = [[0, 0.1, 0.6, 0.3, 0.9], [3, 0.1, 0.6, 0.3, 0.9]]
    more = ["frames.outline=#00ff00", "frames.outlined=first", "frames.px=96"]
    rows = [{"video": "a.mp4", "description": "It stays.", "boxes": box}]
    (row,) = prepared(tmp_path, rows, *more)
    marks = lined(row, (0, 255, 0))
    assert marks[0] == pytest.approx((0.2, 0.75), abs=0.05) and not any(marks[1:])
    assert row["events"] == []
    first = Image.open(io.BytesIO(row["frames"][0]["bytes"]))
    square = WIDTH / HEIGHT
    shape = square * float(pixels) if turn % 2 == 0 else square / float(pixels)
    assert first.width / first.height == pytest.approx(shape, rel=0.03)


def test_masklets_beside_the_video_become_boxes(tmp_path):
    masks = pytest.importorskip("pycocotools.mask")
    grey = np.full((96, 160, 3), 120, np.uint8)
    write_h264(tmp_path / "sav_1.mp4", iter([grey] * 60), rate=24)  # 2.5 s

    def rle(x, y, width, height):
        mask = np.zeros((96, 160), np.uint8, order="F")
        mask[y : y + height, x : x + width] = 1
        found = masks.encode(mask)
        return {"size": [96, 160], "counts": found["counts"].decode()}

    frames = [[rle(16, 48, 32, 24), rle(80, 0, 40, 96)] for _ in range(9)]
    frames += [[rle(0, 0, 0, 0), rle(80, 0, 40, 96)], [None, rle(80, 0, 40, 96)], []]
    content = {"video_id": "sav_1", "masklet_id": [3, 7], "masklet": frames}
    (tmp_path / "sav_1_manual.json").write_text(json.dumps(content))
    captions = [{"start_frame": 0, "end_frame": 8, "caption": "it waits."}]
    rows = [
        {"uid": "a", "video": "sav_1.mp4", "masklet_id": 3, "total_frames": 12, "dense_captions": captions},
        {"uid": "b", "video": "sav_1.mp4", "masklet_id": 7, "total_frames": 12, "start_frame": 0, "end_frame": 11, "caption": "x."},
        {"uid": "c", "video": "sav_1.mp4", "masklet_id": 9, "total_frames": 12, "dense_captions": captions},
    ]  # fmt: skip
    first, second = prepared(tmp_path, rows, "frames.fps=6")
    assert first["prompt"] == second["prompt"] == PROMPT
    track = json.loads(first["metadata"])["boxes"]
    assert track[0] == [0.0, pytest.approx([0.1, 0.5, 0.3, 0.75])] and track[9] == [1.5, None]
    marked = dict(zip(first["times_s"], lined(first), strict=True))
    assert all((middle is not None) == (time_s < 1.5) for time_s, middle in marked.items())
    assert first["events"][-1]["text"] == ABSENT and first["events"][-1]["start_s"] == 1.5
    lost = [json.loads(line) for line in (tmp_path / "data/quarantine.jsonl").open()]
    assert [one["id"] for one in lost] == ["c"] and "masklet_id=9" in lost[0]["detail"]


def test_without_masks_the_subject_is_not_marked_and_that_is_counted(tmp_path):
    grey = np.full((96, 160, 3), 120, np.uint8)
    write_h264(tmp_path / "sav_1.mp4", iter([grey] * 30), rate=24)
    captions = [{"start_frame": 0, "end_frame": 5, "caption": "it waits."}]
    row = {
        "uid": "a",
        "video": "sav_1.mp4",
        "masklet_id": 3,
        "total_frames": 12,
        "dense_captions": captions,
    }
    (one,) = prepared(tmp_path, [row])
    assert not any(lined(one)) and one["prompt"] == ""
    assert one["repairs"] == [
        {"what": "no masks beside the video: its subject is not marked", "count": 1}
    ]
    for broken in ("[]", '{"masklet_id": [3], "masklet": [["x"]]}', "no json"):
        (tmp_path / "sav_1_manual.json").write_text(broken)
        from data.sources import masklets

        masklets._read.cache_clear()
        with pytest.raises(masklets.BadRow):
            masklets.boxes_of_masklet(str(tmp_path / "sav_1.mp4"), 3)
