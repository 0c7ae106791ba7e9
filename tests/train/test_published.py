"""The published figures against a plain computation of them, on files as people write them."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import load
from data.sample import Event, Stated
from tests.helpers import published
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.metrics.grounding import tious
from train.metrics.matching import best_in_order, published_pairs
from train.metrics.soda import groups, soda, soda_m


def figures(tmp_path, references, predictions, *more):
    (tmp_path / "ref.json").write_text(json.dumps(references))
    (tmp_path / "pred.json").write_text(
        json.dumps({"version": "1", "results": predictions, "external_data": {}})
    )
    keys = [
        f"references={tmp_path / 'ref.json'}",
        f"predictions={tmp_path / 'pred.json'}",
        f"out={tmp_path / 'o'}",
    ]
    found = evaluate(
        load(EvaluateConfig, [*keys, "report=false", "overwrite=true", *more]), shown=False
    )
    return {m.name: m.value for m in found.scored[0].measures}


@pytest.mark.parametrize("seed", range(6))
def test_compat_is_the_published_program(tmp_path, seed):
    references, predictions = published.pair_of_files(seed)
    ours = figures(tmp_path, references, predictions, "published_soda=true", "soda_text=rouge_l")
    theirs = published.soda(references, predictions, published.rouge_l)
    for variant, values in theirs.items():
        for part, value in zip(("_precision", "_recall", ""), values, strict=True):
            assert ours[f"soda_{variant}{part}"] == pytest.approx(value, abs=1e-9), variant + part
    for tiou in published.TIOUS:
        recall, precision = published.localisation(references, predictions, tiou)
        assert ours[f"recall_tiou>{tiou:g}"] == pytest.approx(recall, abs=1e-12)
        assert ours[f"precision_tiou>{tiou:g}"] == pytest.approx(precision, abs=1e-12)
        said = published.captions(references, predictions, tiou, published.rouge_l)
        assert ours[f"densevid_rouge_l_{tiou:g}"] == pytest.approx(said, abs=1e-9)


def test_activitynets_scores_need_no_key(tmp_path):
    """What they count is the file as it stands, with compat or without."""
    references, predictions = published.pair_of_files(7)
    for row in references.values():  # a video without a usable event is left out, and said so
        row["timestamps"].append([0, 3])
        row["sentences"].append("a dog")
    ours = figures(tmp_path, references, predictions)
    for tiou in published.TIOUS:
        recall, precision = published.localisation(references, predictions, tiou)
        assert ours[f"recall_tiou>{tiou:g}"] == pytest.approx(recall, abs=1e-12)
        assert ours[f"precision_tiou>{tiou:g}"] == pytest.approx(precision, abs=1e-12)


def test_equal_starts_keep_their_order(tmp_path):
    true = {
        "a": {
            "duration": 60,
            "timestamps": [[0, 60], [0, 30]],
            "sentences": ["a man plays", "a dog sleeps"],
        }
    }
    said = {
        "a": [
            {"sentence": "a dog sleeps", "timestamp": [0, 30]},
            {"sentence": "a man plays", "timestamp": [0, 60]},
        ]
    }
    assert figures(tmp_path, true, said, "published_soda=true")["soda_d"] == pytest.approx(0.5)
    assert figures(tmp_path, true, said)["soda_d"] == 1
    assert (tmp_path / "o/report.html").exists() is False


def test_exactly_half_is_not_found_and_events_of_no_length_count(tmp_path):
    true = {
        "a": {"duration": 8, "timestamps": [[0, 6], [7, 7], [4, 99]], "sentences": ["x", "y", "z"]}
    }
    said = {"a": [{"sentence": "x", "timestamp": [0, 3]}, {"sentence": "z", "timestamp": [4, 99]}]}
    ours = figures(tmp_path, true, said, "published_soda=true", "soda_text=rouge_l")
    assert ours["recall_tiou>0.5"] == pytest.approx(1 / 3) and ours["precision_tiou>0.5"] == 0.5
    assert ours["soda_d_recall"] == pytest.approx(1.5 / 3) and ours[
        "soda_d_precision"
    ] == pytest.approx(0.75)
    assert ours["densevid_rouge_l_0.5"] == pytest.approx(0.5), "0.5 - 1e-9 is below .5"
    mended = figures(tmp_path, true, said, "soda_text=rouge_l")
    assert mended["soda_d_recall"] == pytest.approx((0.5 + 4 / 95) / 2), "cut at the end, left out"


def test_files_are_written_again_as_they_stood(tmp_path):
    """So that a comparison with published_soda=true counts the same."""
    references, predictions = published.pair_of_files(8, 12)
    first = figures(tmp_path, references, predictions, "published_soda=true", "soda_text=rouge_l")
    again = {}
    for name, row in json.loads((tmp_path / "o/references.json").read_text()).items():
        again[name] = {k: row[k] for k in ("duration", "timestamps", "sentences")}
    assert again == references
    written = json.loads((tmp_path / "o/predictions.json").read_text())["results"]
    second = figures(tmp_path, again, written, "published_soda=true", "soda_text=rouge_l")
    for name in (
        "soda_a",
        "soda_c",
        "soda_d",
        "recall_tiou>0.3",
        "precision_tiou>0.7",
        "times_parsable",
    ):
        assert second[name] == pytest.approx(first[name]), name


WORTH = st.integers(1, 7).flatmap(
    lambda rows: st.integers(1, 7).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.5, 1.0]), min_size=columns, max_size=columns),
            min_size=rows, max_size=rows,
        )
    )
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(WORTH)
def test_pairs_are_read_as_the_published_program_reads_them(worth):
    total, pairs = published._table(worth)
    assert published_pairs(np.array(worth)) == pairs
    assert best_in_order(np.array(worth))[0] == pytest.approx(total)


# --- SodaM -----------------------------------------------------------------------------------


def same(pairs):
    return np.array([published.rouge_l(a, b) for a, b in pairs])


def split_of(event, cuts):
    """An event told in parts, each with its share of the words."""
    words, times = event.text.split(), np.linspace(event.start_s, event.end_s, cuts + 1)
    parts = [" ".join(p) for p in np.array_split(words, cuts)]
    return [
        Event(a, b, t)
        for a, b, t in zip(times[:-1].tolist(), times[1:].tolist(), parts, strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_a_finer_timeline_is_not_punished(scenes, seed):
    """A timeline that tells each scene in one to four parts scores 1, as the scenes themselves do."""
    draw = np.random.default_rng(seed)
    bounds = np.cumsum([0, *(length for length, _ in scenes)]).tolist()
    true = [
        Event(a, b, " ".join(draw.choice(published.WORDS[:16], 8))) for a, b in pairwise(bounds)
    ]
    said = [
        part
        for event, (_, cuts) in zip(true, scenes, strict=True)
        for part in split_of(event, cuts)
    ]
    assert soda_m(true, true, same) == pytest.approx((1, 1, 1))
    assert soda_m(said, true, same) == pytest.approx((1, 1, 1))
    if any(cuts > 1 for _, cuts in scenes):
        assert soda(said, true, same).c[2] < 0.9


def test_soda_m_by_hand():
    """Two predictions share the first reference, none has the second, one is beside all."""
    true = [Event(0, 10, "a man runs"), Event(10, 20, "a dog"), Event(20, 30, "red ball")]
    said = [Event(0, 4, "a man"), Event(4, 10, "runs"), Event(20, 29, "red ball")]
    precision, recall, f1 = soda_m(said, true, same)
    assert (precision, recall) == (1, pytest.approx(2 / 3)) and f1 == pytest.approx(0.8)
    assert soda_m([Event(40, 50, "a man runs")], true, same) == (0, 0, 0) == soda_m([], true, same)
    assert soda_m([*said, Event(40, 50, "noise")], true, same)[0] < 1, (
        "what fits nowhere spoils its group"
    )


@given(WORTH)
def test_every_prediction_is_in_one_group_in_order(worth):
    matrix = np.array(worth)
    matched = best_in_order(matrix)[1]
    found = groups(matrix, matched)
    members = [j for js in found.values() for j in js]
    assert members == (list(range(matrix.shape[1])) if matched else [])
    assert list(found) == [i for i, _ in matched] and all(j in found[i] for i, j in matched)


def test_stated_events_overlap_nothing_where_they_have_no_length():
    stated = [Stated(5, 5, "a"), Stated(7, 3, "b"), Stated(-2, 4, "c")]
    assert tious(stated, [Event(0, 8, "x")], 1e-8).round(6).tolist() == [[0], [0], [0.4]]
