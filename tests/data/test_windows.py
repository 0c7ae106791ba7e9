"""Long videos: windows tile a video, hold what happens in them, and give back the whole when joined."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from data.media import VideoFile
from data.offline.config import PrepareConfig
from data.offline.isolate import part_done, run_each
from data.offline.prepare import prepare
from data.offline.row import has_windows
from data.prepared.dataset import Prepared
from data.prepared.shards import FORMAT_VERSION, SHARES, WINDOW
from data.sample import Event, Sample, Turn, events_of
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.windows import choose_windows, cut
from data.sources import microworld
from data.sources.config import SourceKeys
from data.window import Window, as_seen, fills, inside, joined, on_video_clock, whole_events
from tests.helpers.random_selector import needs
from tests.helpers.signals import signals_of
from tests.helpers.videos import every, write_video

FILM_S = (80.0, 90.0)
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of more than a minute, and its scenes' events."""
    path = microworld.render(3, 0, tmp_path_factory.mktemp("films"), FILM_S)
    return str(path), microworld.events(microworld.story(3, 0, FILM_S))


def spans(windows):
    return [one.part_s for one in windows]


@pytest.mark.parametrize(
    "keys",
    [
        *({"policy": p} for p in POLICIES if p not in ("embedding", "query")),
        {"speed": "keyframes"}, {"speed": "fast"},
        {"policy": "motion", "method": "vectors"},
    ],
    ids=str,
)  # fmt: skip
def test_windows_tile_a_film_and_their_frames_lie_in_them(film, keys):
    path, _ = film
    keys = {**keys, **needs(keys.get("policy"))}
    windows = list(choose_windows(path, FrameKeys(max=6, px=48, window_s=LIMIT_S, **keys)))
    assert windows[0].part_s[0] == 0.0 and windows[-1].part_s[1] == windows[-1].duration_s
    assert all(a[1] == b[0] for a, b in pairwise(spans(windows)))
    for one in windows:
        start_s, end_s = one.part_s
        assert 1 <= len(one) <= 6
        # with key frames alone, none may lie in what is left after the last window
        sparse = keys.get("speed") == "keyframes" or keys.get("policy") == "keyframes"
        assert end_s - start_s <= LIMIT_S + 0.51 or (sparse and one is windows[-1])
        assert all(start_s <= t < end_s for t in one.times_s)
        assert sorted(one.ranks) == list(range(len(one)))
    assert windows[-1].decoded_share == 1.0


def test_windows_end_where_shots_end_and_show_every_scene(film):
    path, events = film
    windows = list(choose_windows(path, FrameKeys(max=12, px=48, window_s=LIMIT_S)))
    cuts_s = [e.start_s for e in events]
    # a scene lasts at most 16 s: there is a cut in the second half of nearly every window
    at_cuts = [min(abs(one.part_s[1] - c) for c in cuts_s) < 0.05 for one in windows[:-1]]
    assert np.mean(at_cuts) > 0.7
    times_s = [t for one in windows for t in one.times_s]
    assert all(any(e.start_s <= t < e.end_s for t in times_s) for e in events)
    one = next(choose_windows(path, FrameKeys(max=12, px=48, window_s=None)))
    assert one == choose_frames(path, FrameKeys(max=12, px=48))
    assert len(windows) * 12 >= len(times_s) > len(one)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0.04, 0.04, 0.2, 1.0, 7.0, 90.0]), min_size=30, max_size=300),
    st.floats(0, 1),
    st.booleans(),
    st.sampled_from([0.0, 3.0, 50.0]),
)
def test_a_cut_leaves_frames_on_both_sides_within_the_limit(steps, at, still, gap_s):
    times_s = np.cumsum(steps)
    held = signals_of(times_s, cuts_s=[float(times_s[int(at * (len(steps) - 1))])], still=still)
    end_s = float(times_s[-1]) + 30
    start_s = float(times_s[0]) - gap_s
    if times_s[-1] <= start_s + 10.0:
        return
    count, at_s = cut(held, start_s, 10.0, end_s, FrameKeys(min_shot_s=0.3))
    assert 1 <= count < len(times_s)
    assert times_s[count - 1] < at_s <= times_s[count] or gap_s > 10.0
    if gap_s < 5:
        assert 4.9 < at_s - start_s <= 10.0 + 1e-6


@pytest.mark.parametrize("late_s", [[900.0], [900.0, 900.2], [900.0, 925.0, 1800.0]])
def test_a_recording_gap_and_stray_frames_after_it(tmp_path, late_s):
    path = write_video(tmp_path / "gap.mp4", [*every(0.5, 60), *late_s])
    windows = list(choose_windows(str(path), FrameKeys(max=6, px=48, window_s=LIMIT_S)))
    assert windows[0].part_s[0] == 0.0 and windows[-1].part_s[1] == windows[-1].duration_s
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(spans(windows)))
    assert all(a <= t < b for one in windows for a, b in [one.part_s] for t in one.times_s)


# --- events --------------------------------------------------------------------------------------

EDGES = st.lists(st.floats(4, 60), min_size=1, max_size=8).map(lambda x: np.cumsum([0.0, *x]))


@st.composite
def tiled(draw):
    """Windows that tile a video, and events in it, each with words of its own."""
    edges = draw(EDGES)
    windows = [Window(float(a), float(b)) for a, b in pairwise(edges)]
    events = []
    for i in range(draw(st.integers(0, 12))):
        a, b = sorted(draw(st.tuples(st.floats(0, edges[-1]), st.floats(0, edges[-1]))))
        if b - a > 0.05:
            events.append(Event(a, b, f"thing {i} happens"))
    return windows, sorted(events, key=lambda e: (e.start_s, e.end_s))


def looks_like_one(windows, events):
    """Whether at some seam one event is told only before it and another one only after it, though both cross it:
    each ends with `…` there, as one event would."""
    for before, after in pairwise(windows):
        crossing = [e for e in events if e.start_s < after.start_s < e.end_s]
        told = {(fills(e, before), fills(e, after)) for e in crossing}
        if {(True, False), (False, True)} <= told:
            return True
    return False


@settings(deadline=None)
@given(tiled(), st.sampled_from(["own", "video"]))
@example(([Window(0, 8), Window(8, 12)], [Event(0, 8.9, "a b"), Event(7, 9, "c d")]), "own")
def test_joining_the_windows_of_a_perfect_describer_gives_the_reference_back(world, clock):
    windows, events = world
    assume(not looks_like_one(windows, events))
    rows = [
        {
            "duration_s": windows[-1].end_s, "start_s": w.start_s, "end_s": w.end_s, "times_s": [w.start_s],
            "events": [{"start_s": e.start_s, "end_s": e.end_s, "text": e.text} for e in events if fills(e, w)],
            "description": "the whole",
        }
        for w in windows
    ]  # fmt: skip
    assert whole_events(rows) == events  # every event is in at least one window, none twice
    said = []
    for row, window in zip(rows, windows, strict=True):
        seen = as_seen(row, clock)
        assert as_seen(seen, clock) == seen
        if clock == "own" and len(windows) > 1:
            assert seen["times_s"] == [0.0] and seen["duration_s"] == window.end_s - window.start_s
        own = "own" if len(windows) > 1 and clock == "own" else "video"
        found, moved, left_out = on_video_clock(events_of(seen), window, own)
        assert not moved and not left_out
        said.append(found)
    back = joined(windows, said)
    assert sorted(e.text for e in back) == sorted(e.text for e in events)
    of_text = {e.text: e for e in back}
    for event in events:  # less than a second of it may lie beyond a seam, where it is not told
        got = of_text[event.text]
        assert abs(got.start_s - event.start_s) < 1.01 and abs(got.end_s - event.end_s) < 1.01


def test_what_crosses_a_seam_is_marked_and_two_things_that_meet_there_stay_two():
    windows = [Window(0, 10), Window(10, 20)]
    events = [Event(2, 10, "a"), Event(8, 15, "b"), Event(9.4, 15, "c"), Event(10, 14, "d")]
    left, right = (inside(events, w) for w in windows)
    assert left == [Event(2, 10, "a"), Event(8, 10, "b …")]
    assert right == [Event(10, 15, "… b"), Event(10, 15, "… c"), Event(10, 14, "d")]
    assert joined(windows, [left, right]) == [
        Event(2, 10, "a"),
        Event(8, 15, "b"),
        Event(10, 14, "d"),
        Event(10, 15, "c"),
    ]
    # a model that marks nothing: the same words on both sides are one thing
    assert joined(windows, [[Event(3, 10, "A dog.")], [Event(10, 12, "a dog")]]) == [
        Event(3, 12, "A dog.")
    ]


def test_times_outside_a_window_are_moved_or_left_out_and_counted():
    said = [Event(0, 5, "in"), Event(15, 30, "over"), Event(25, 30, "out")]
    found, moved, left_out = on_video_clock(said, Window(100, 120), "own")
    assert found == [Event(100, 105, "in"), Event(115, 120, "over")]
    assert (moved, left_out) == (1, 1)


def test_a_window_is_given_the_speech_that_is_said_in_it():
    said = "Speech:\n[00:02 - 00:04] hello\n[00:18 - 00:24] look there\n[00:50 - 00:52] bye"
    row = {"duration_s": 60.0, "start_s": 20.0, "end_s": 40.0, "times_s": [21.0], "context": said}
    assert as_seen(row, "own")["context"] == "Speech:\n[00:00 - 00:04] look there"
    assert as_seen(row, "video")["context"] == "Speech:\n[00:20 - 00:24] look there"
    assert as_seen({**row, "start_s": 30.0}, "own")["context"] == ""
    assert as_seen({**row, "context": "A holiday."}, "own")["context"] == "A holiday."


# --- the prepared dataset ------------------------------------------------------------------------


def config(out, folder, **frames):
    return PrepareConfig(
        source=SourceKeys(name="microworld", path=str(folder), limit=2, seed=3, film_s=FILM_S),
        frames=FrameKeys.model_validate({"max": 6, "px": 48, "window_s": LIMIT_S, **frames}),
        out=str(out), workers=2,
    )  # fmt: skip


def test_a_window_is_a_row_and_all_rows_of_a_film_stay_together(tmp_path):
    summary = prepare(config(tmp_path / "o", tmp_path))
    rows = Prepared.open(tmp_path / "o").rows()
    assert summary["videos"] == summary["samples"] == 2 and summary["rows"] == len(rows) > 7
    assert (
        abs(summary["video_s"] - sum({r["sample_id"]: r["duration_s"] for r in rows}.values())) < 1
    )
    for index, name in enumerate(dict.fromkeys(rows["sample_id"])):
        own = [r for r in rows if r["sample_id"] == name]
        assert {r["video_id"] for r in own} == {name}
        assert own[0]["id"] == f"{name}@00:00" and len({r["id"] for r in own}) == len(own)
        assert all(a["end_s"] == b["start_s"] for a, b in pairwise(own))
        truth = microworld.events(microworld.story(3, index, FILM_S))
        assert [str(e) for e in whole_events(own)][:-1] == [str(e) for e in truth][:-1]
        assert len(whole_events(own)) == len(truth)  # the last ends with the file, to the float
        assert all(r["frames"] and len(r["frames"]) == len(r["times_s"]) for r in own)
    # what an earlier version wrote is read as whole videos
    whole = config(tmp_path / "whole", tmp_path, window_s=None)
    prepare(whole)
    shard = tmp_path / "whole/shard-00000.parquet"
    pq.write_table(pq.read_table(shard).drop([*WINDOW, *SHARES]), shard)
    manifest = tmp_path / "whole/manifest.json"
    now = f'"format_version": {FORMAT_VERSION}'
    manifest.write_text(manifest.read_text().replace(now, '"format_version": 4'))
    old = Prepared.open(tmp_path / "whole").rows()
    assert old["sample_id"] == old["id"] and set(old["start_s"]) == {0.0}
    assert old["end_s"] == old["duration_s"]


def test_only_what_has_times_is_cut():
    video, events = VideoFile("a.mp4"), (Event(0, 9, "x"),)
    assert has_windows(Sample("a", "s", video, events=events, description="all of it"))
    assert not has_windows(Sample("a", "s", video, description="all of it"))
    assert not has_windows(Sample("a", "s", video, events=events, turns=(Turn("why?", "so"),)))
    assert not has_windows(Sample("a", "s", video, events=events, prompt="Count the dogs."))


def parts(count):
    import time

    for i in range(count):
        time.sleep(0.4)
        part_done(f"part {i}")
    return count


def test_a_long_item_has_its_time_limit_for_each_part():
    said = []
    (done,) = run_each(parts, [4], workers=1, timeout_s=1.0, memory_gib=4, on_progress=said.append)
    assert done.outcome == 4 and said == [f"part {i}" for i in range(4)]
