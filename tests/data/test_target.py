from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from data.sample import Event
from data.target import UNITS, parse_timeline, target, timeline

SECONDS = st.floats(0, 20_000, allow_nan=False)
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


UNIT = st.sampled_from(["seconds", "tenths"])
SPANS = st.lists(st.tuples(SECONDS, st.floats(0.01, 600), WORDS), max_size=12)


@given(SPANS, UNIT)
def test_a_timeline_reads_back_as_its_events(items, unit):
    events = sorted((Event(s, s + d, w) for s, d, w in items), key=lambda e: (e.start_s, e.end_s))
    back, bad = parse_timeline(timeline(events, unit))
    step_s = 1 / UNITS[unit]
    assert bad == 0 and [e.text for e in back] == [e.text for e in events]
    for said, true in zip(back, events, strict=True):
        short = true.end_s - true.start_s < step_s  # it may get the unit around its middle
        off_s = step_s if short else step_s / 2
        assert abs(said.start_s - true.start_s) <= off_s + 1e-4
        assert abs(said.end_s - true.end_s) <= off_s + 1e-4
        assert said.end_s - said.start_s >= step_s - 1e-6
    again, _ = parse_timeline(timeline(back, unit))
    assert sorted(map(str, again)) == sorted(map(str, back))  # rounded, their order may differ


@given(st.lists(st.floats(0.05, 30), min_size=2, max_size=12), UNIT)
def test_events_that_touch_still_touch_and_nothing_overlaps(lengths, unit):
    edges = list(accumulate(lengths, initial=0.0))
    events = [Event(a, b, f"w{i}") for i, (a, b) in enumerate(pairwise(edges))]
    said, _ = parse_timeline(timeline(events, unit))
    for (a, b), (first, second) in zip(pairwise(events), pairwise(said), strict=True):
        if min(e.end_s - e.start_s for e in (a, b)) >= 1 / UNITS[unit] + 1e-3:
            assert first.end_s == second.start_s
        else:  # an event shorter than a unit may share one with its neighbour
            assert abs(first.end_s - second.start_s) <= 1 / UNITS[unit] + 1e-6


@given(st.text())
def test_the_parser_never_raises(text):
    events, bad = parse_timeline(text)
    assert len(events) + bad == sum(bool(line.strip()) for line in text.splitlines())


@given(st.lists(st.sampled_from("[]0123456789:-– \n a"), max_size=80).map("".join))
def test_the_parser_never_raises_on_near_misses(text):
    parse_timeline(text)


def test_what_models_write_is_understood():
    text = "[00:01 - 00:03] a dog.\n00:03-00:05: a cat\n- [1:00:00 – 1:00:04] late\n[00:09 - 00:04] back\nnonsense"
    events, bad = parse_timeline(text)
    assert events == [Event(1, 3, "a dog."), Event(3, 5, "a cat"), Event(3600, 3604, "late")]
    assert bad == 2


def test_an_hour_goes_on_counting_minutes():
    assert timeline([Event(3599.4, 3660.2, "x")]) == "[59:59 - 61:00] x"
    assert timeline([Event(3599.44, 3660.2, "x")], "tenths") == "[59:59.4 - 61:00.2] x"


def test_fallbacks_are_reported():
    events = (Event(0, 1, "a"),)
    assert target(events, "b", "timeline") == ("[00:00 - 00:01] a", False)
    assert target((), "b", "timeline") == ("b", True)
    assert target(events, "b", "paragraph") == ("b", False)
    assert target(events, "", "paragraph") == ("[00:00 - 00:01] a", True)
