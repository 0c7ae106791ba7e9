from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from data.sample import Event
from train.metrics.grounding import tiou, tiou_f1
from train.metrics.scenes import ordered_matches, scene_f1

EVENTS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8)).map(lambda e: Event(e[0], e[0] + e[1], "x")),
    max_size=5,
)


@given(EVENTS, EVENTS)
def test_tiou_f1_is_symmetric_bounded_and_one_for_equals(a, b):
    assert 0 <= tiou_f1(a, b) == tiou_f1(b, a) <= 1
    assert tiou_f1(a, list(reversed(a))) == 1
    assert all(0 <= tiou(x, y) <= 1 for x in a for y in b)


def test_tiou_by_hand():
    assert tiou(Event(0, 4, "a"), Event(2, 6, "b")) == 2 / 6
    assert tiou_f1([Event(0, 4, "a")], [Event(0, 4, "a"), Event(9, 10, "b")]) == 2 / 3
    assert tiou_f1([], [Event(0, 1, "a")]) == 0


def brute_force(a, b):
    for size in range(min(len(a), len(b)), 0, -1):
        for i in combinations(range(len(a)), size):
            for j in combinations(range(len(b)), size):
                if all(a[x] is not None and a[x] == b[y] for x, y in zip(i, j)):
                    return size
    return 0


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=5),
    st.lists(st.sampled_from("abc"), max_size=5),
)
def test_ordered_matches_is_the_best_order_preserving_match(a, b):
    assert ordered_matches(a, b) == brute_force(a, b)


def test_a_scene_is_right_only_in_all_three_and_in_order():
    texts = [
        "a red circle moves left on a white background.",
        "a blue cross spins on a black background.",
    ]
    true = [Event(i, i + 1, text) for i, text in enumerate(texts)]
    assert scene_f1(true, true) == (2, 2, 2)
    assert scene_f1([Event(0, 1, texts[1]), Event(1, 2, texts[0])], true) == (1, 2, 2)
    near = [Event(0, 1, texts[0].replace("white", "pink")), Event(1, 2, "something else")]
    assert scene_f1(near, true) == (0, 2, 2)
