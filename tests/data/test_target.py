import math

from hypothesis import given
from hypothesis import strategies as st

from data.sample import Event
from data.target import parse_timeline, target, timeline

SECONDS = st.floats(0, 20_000, allow_nan=False)
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(SECONDS, st.floats(0.01, 600), WORDS), max_size=12))
def test_a_timeline_reads_back_as_its_events(items):
    events = sorted((Event(s, s + d, w) for s, d, w in items), key=lambda e: (e.start_s, e.end_s))
    back, bad = parse_timeline(timeline(events))
    assert bad == 0 and [e.text for e in back] == [e.text for e in events]
    for said, true in zip(back, events, strict=True):
        assert said.start_s <= true.start_s + 1e-5 and said.end_s >= true.end_s - 1e-5
        assert said.start_s == math.floor(said.start_s) and said.end_s - said.start_s >= 1
        assert true.start_s - said.start_s < 1.001 and said.end_s - true.end_s <= 1.001


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
    assert timeline([Event(3599.5, 3660.2, "x")]) == "[59:59 - 61:01] x"


def test_fallbacks_are_reported():
    events = (Event(0, 1, "a"),)
    assert target(events, "b", "timeline") == ("[00:00 - 00:01] a", False)
    assert target((), "b", "timeline") == ("b", True)
    assert target(events, "b", "paragraph") == ("b", False)
    assert target(events, "", "paragraph") == ("[00:00 - 00:01] a", True)
