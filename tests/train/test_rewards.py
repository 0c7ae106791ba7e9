"""Rewards of answers: bounded, higher for what is nearer, and nothing for a loop. Timelines made worse: they are."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.sample import Event
from data.target import parse_timeline, timeline
from data.window import Window
from train.evaluation.records import Reference, parse_prediction
from train.metrics.text import meteor_lite_pairs
from train.preference.config import RewardKeys
from train.preference.rewards import overlap_f1, reward, shared_time
from train.preference.worse import WORSE

LENGTH_S = 60.0
WORDS = st.sampled_from(["a red ball", "the door opens", "two men talk", "it rains on a field"])


@st.composite
def events(draw, least=1):
    """Events in whole seconds, by start."""
    found = []
    for _ in range(draw(st.integers(least, 6))):
        start = draw(st.integers(0, 58))
        found.append(Event(start, draw(st.integers(start + 1, 60)), draw(WORDS)))
    return sorted(found, key=lambda e: (e.start_s, e.end_s, e.text))


def reward_of(text, true, style="timeline", **weights):
    reference = Reference(tuple(true), LENGTH_S, "a red ball and a door")
    said = parse_prediction(text)
    return reward(said, reference, RewardKeys(**weights), meteor_lite_pairs, style)


@given(st.one_of(events().map(timeline), st.text(max_size=200)), events(least=0))
def test_a_reward_and_its_parts_are_from_0_to_1(text, true):
    for style in ("timeline", "paragraph"):
        found = reward_of(text, true, style)
        assert 0 <= found.value <= 1 + 1e-9
        assert all(-1e-9 <= part <= 1 + 1e-9 for part in found.parts.values())
        timed = style == "timeline" and bool(true)
        assert ("soda_c" in found.parts) == timed
        assert ("text" in found.parts) != timed


@given(events())
def test_the_reference_itself_has_the_best_times(true):
    found = reward_of(timeline(true), true)
    assert found.parts["tiou_f1"] == pytest.approx(1)
    assert found.parts["coverage"] == pytest.approx(1)
    if not found.flags:
        assert found.parts["soda_c"] == pytest.approx(1)


@given(st.integers(0, 20), st.integers(4, 20), st.integers(1, 18))
def test_nearer_times_get_more(start, length, off):
    true = [Event(start, start + length, "a red ball")]
    near, far = (
        reward_of(timeline([Event(start + by, start + length + by, "a red ball")]), true)
        for by in (off, off + 1)
    )
    assert near.value >= far.value
    if off < length:
        assert near.parts["tiou_f1"] > far.parts["tiou_f1"]
        assert near.parts["coverage"] > far.parts["coverage"]


@given(events(), events())
def test_a_loop_never_wins(true, other):
    said = timeline(other)
    last = said.splitlines()[-1]
    assert reward_of("\n".join([said, *[last] * 4]), true).value == 0
    assert reward_of("", true).value == 0


@given(events(), events())
def test_parts_of_times_are_symmetric(one, other):
    assert overlap_f1(one, other) == pytest.approx(overlap_f1(other, one))
    assert shared_time(one, other) == pytest.approx(shared_time(other, one))


def test_a_weight_of_zero_takes_a_part_out():
    true = [Event(0, 10, "a red ball")]
    text = timeline([Event(0, 10, "nothing of that")])
    assert reward_of(text, true, soda_c=0, format=0, coverage=0, repetition=0).value == 1
    assert reward_of(text, true, tiou_f1=0, format=0, coverage=0, repetition=0).value < 0.2


def test_the_judge_counts_by_its_weight():
    true = [Event(0, 10, "a red ball")]
    reference = Reference(tuple(true), LENGTH_S)
    said = parse_prediction(timeline(true))
    keys = RewardKeys(judge=2.75)
    parts = (said, reference, keys, meteor_lite_pairs, "timeline")
    assert reward(*parts, judged=0.0).value == pytest.approx(0.5)
    assert reward(*parts, judged=float("nan")).value == pytest.approx(1)  # could not be read


@settings(max_examples=200)
@example([Event(0, 1, "a red ball"), Event(0, 1, "the door opens")], "swapped", 0)
@given(events(least=2), st.sampled_from(sorted(WORSE)), st.integers(0, 2**32 - 1))
def test_a_timeline_made_worse_is_worse_and_parses(true, maker, seed):
    true = [e for i, e in enumerate(true) if e not in true[:i]]
    worse = WORSE[maker](true, Window(0.0, LENGTH_S), np.random.default_rng(seed))
    if worse is None:
        return
    assert worse
    again, unusable = parse_timeline(timeline(worse))
    assert len(again) == len(worse)
    assert unusable == 0
    assert all(0 <= e.start_s < e.end_s <= LENGTH_S for e in worse)
    best, found = reward_of(timeline(true), true), reward_of(timeline(worse), true)
    if not best.flags and timeline(worse) != timeline(true):
        assert found.value < best.value


def test_what_cannot_be_made_worse_is_said_so():
    one, rng = [Event(0, 5, "a ball")], np.random.default_rng(0)
    whole = Window(0.0, LENGTH_S)
    assert WORSE["dropped"](one, whole, rng) is None
    assert WORSE["swapped"]([*one, Event(5, 9, "a ball")], whole, rng) is None
    assert WORSE["swapped"]([*one, Event(0.2, 5, "a door")], whole, rng) is None
    assert WORSE["shifted"](one, Window(0.0, 5.0), rng) is not None
