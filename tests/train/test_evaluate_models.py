"""Evaluating models: base and tuned, several policies, resume, and the page in a real browser."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.config import load
from data.errors import UserError
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from tests.helpers.browser import Browser
from tests.helpers.videos import ROOT, call_command
from train import sft
from train.config import TrainConfig
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.evaluation.systems import frames_names


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """A LoRA run that held out five of the 24 videos."""
    out = tmp_path_factory.mktemp("runs") / "lora"
    argv = [
        "train.method=lora",
        "model.name=tiny",
        f"data.path={world}",
        f"train.output={out}",
        "train.steps=2",
        "data.eval_share=0.2",
        "data.workers=0",
    ]
    sft.main(load(TrainConfig, argv))
    return out


def keys(world, run, out, *more):
    argv = [
        f"data.path={world}",
        f"adapter={run}",
        f"out={out}",
        "generate.max_new_tokens=16",
        "generate.batch=2",
    ]
    given = {a.split("=")[0] for a in more}
    return load(EvaluateConfig, [a for a in argv if a.split("=")[0] not in given] + list(more))


@pytest.fixture(scope="module")
def evaluated(world, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("evals") / "both"
    return evaluate(keys(world, run, out, "base=true")), out


@pytest.mark.slow
def test_base_and_tuned_on_the_held_out_videos(evaluated, world):
    done, out = evaluated
    assert [s.name for s in done.systems] == ["base", "tuned"]
    assert len(done.references) == 5 and set(done.references) <= set(
        Prepared.open(world).rows()["id"]
    )
    for system in done.systems:
        assert set(system.answers) == set(done.references)
    stored = json.loads((out / "scores.json").read_text())
    assert set(stored["systems"]) == {"base", "tuned"} and stored["videos"] == 5
    assert "soda_c" in stored["differences_from_the_first"]["tuned"]
    ours = json.loads((out / "predictions.json").read_text())
    assert ours["scenescribe"]["model"].endswith("lora") and set(ours["results"]) == set(
        done.references
    )
    assert (out / "predictions-base.json").is_file()
    with (out / "videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and {r["frames"] for r in rows} <= set("123456")


@pytest.mark.slow
def test_the_same_again_asks_no_model(evaluated, world, run, monkeypatch):
    done, out = evaluated
    from train.evaluation import answers

    monkeypatch.setattr(answers, "load_run", lambda *_: pytest.fail("a model was loaded"))
    again = evaluate(keys(world, run, out, "base=true"))
    assert [dict(s.answers) for s in again.systems] == [dict(s.answers) for s in done.systems]


@pytest.mark.slow
def test_other_settings_do_not_mix_in(evaluated, world, run):
    _, out = evaluated
    with pytest.raises(UserError, match=r"generate differs.*overwrite=true"):
        evaluate(keys(world, run, out, "base=true", "generate.max_new_tokens=8"))


@pytest.mark.slow
def test_killed_and_continued_says_the_same(world, run, tmp_path):
    """Drawn words, so that only the seed makes two runs agree."""
    drawn = ("generate.temperature=1.5", "generate.batch=1", "data.part=all", "report=false")
    whole = evaluate(keys(world, run, tmp_path / "whole", *drawn))
    argv = [
        sys.executable,
        "scripts/evaluate.py",
        f"data.path={world}",
        f"adapter={run}",
        f"out={tmp_path}/parts",
        "generate.max_new_tokens=16",
        *drawn,
    ]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    file = tmp_path / "parts/answers/tuned.jsonl"
    while not (file.exists() and file.read_text().count("\n") > 5):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 < file.read_text().count("\n") < 25
    with file.open("a") as lines:
        lines.write('{"id": "half a li')
    parts = evaluate(keys(world, run, tmp_path / "parts", *drawn))
    assert dict(parts.systems[0].answers) == dict(whole.systems[0].answers)
    other = evaluate(keys(world, run, tmp_path / "other", *drawn, "generate.seed=7"))
    assert dict(other.systems[0].answers) != dict(whole.systems[0].answers)


@pytest.mark.slow
def test_policies_side_by_side(world, run, tmp_path, capsys):
    """The comparison table: policy × threshold → frames, seconds, description, scores, per video."""
    out = tmp_path / "o"
    done = evaluate(
        keys(
            world,
            run,
            out,
            "frames.policy=scene,uniform,shots",
            "frames.threshold=2,4",
            "data.limit=2",
        )
    )
    names = [s.name for s in done.systems]
    assert names == [
        "tuned, scene",
        "tuned, uniform",
        "tuned, shots adaptive 2",
        "tuned, shots adaptive 4",
    ]
    assert capsys.readouterr().err.count("is not what") == 3  # one line each, for all but its own
    with (out / "videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and all(float(r["choose_s"]) > 0 for r in rows)
    assert {(r["policy"], r["threshold"]) for r in rows} == {
        ("scene", ""),
        ("uniform", ""),
        ("shots", "2.0"),
        ("shots", "4.0"),
    }
    assert len(list(out.glob("frames/uniform-6-????????/manifest.json"))) == 1
    page = (out / "report.html").read_text()
    assert "uniform frames" in page and page.count('class="strip"') == 8


@pytest.mark.slow
def test_two_evaluations_side_by_side(evaluated, world, run, tmp_path, capsys):
    _, out = evaluated
    other = tmp_path / "other"
    evaluate(keys(world, run, other, "generate.max_new_tokens=8", "data.part=all", "report=false"))
    capsys.readouterr()
    done = call_command("scripts/evaluate.py", f"compare={out},{other}", f"out={tmp_path}/both")
    assert done.returncode == 0, done.stderr
    assert "both: base" in done.stdout and "other: tuned − both: base" in done.stdout
    assert "19 × videos that not all of them have, left out" in done.stderr
    page = (tmp_path / "both/report.html").read_text()
    assert (
        "<title>both: base, both: tuned, other: tuned</title>" in page and 'class="strip"' in page
    )
    # the dataset was moved since: a report without pictures is one still
    for folder in (out, other):
        moved = shutil.copytree(folder, tmp_path / "moved" / folder.name)
        record = moved / "scores.json"
        record.write_text(record.read_text().replace(str(world), f"{world}-away"))
    both = f"compare={tmp_path}/moved/{out.name},{tmp_path}/moved/other"
    done = call_command("scripts/evaluate.py", both, f"out={tmp_path}/bare")
    assert done.returncode == 0 and "so the page shows no frames of it" in done.stderr, done.stderr
    assert 'class="strip"' not in (tmp_path / "bare/report.html").read_text()


@pytest.mark.slow
def test_a_paragraph_may_be_asked_for(world, run, tmp_path):
    done = evaluate(
        keys(world, run, tmp_path / "o", "data.target=paragraph", "data.limit=1", "report=false")
    )
    assert not done.timed and "rouge_l" in {m.name for m in done.scored[0].measures}


@pytest.mark.slow
def test_a_prompt_that_is_too_long_costs_that_video(world, run, tmp_path):
    crowded = tmp_path / "run"
    shutil.copytree(run, crowded)
    policy = json.loads((crowded / "frame_policy.json").read_text())
    (crowded / "frame_policy.json").write_text(
        json.dumps({**policy, "ask": {**policy["ask"], "max_tokens": 64}})
    )
    done = evaluate(keys(world, crowded, tmp_path / "o", "data.limit=3", "report=false"))
    assert done.scored[0].flags == (("empty",),) * 3 and done.scored[0]["soda_c"].value == 0


@pytest.mark.slow
def test_a_model_that_held_nothing_out(world, run, tmp_path):
    """No score on what a model has learned from, unless that is asked for."""
    greedy = tmp_path / "run"
    shutil.copytree(run, greedy)
    record = json.loads((greedy / "run.json").read_text())
    record["dataset"]["eval_share"] = 0
    (greedy / "run.json").write_text(json.dumps(record))
    (greedy / "held_out.txt").write_text("")
    with pytest.raises(UserError, match=r"trained on all of it.*data.part=all"):
        evaluate(keys(world, greedy, tmp_path / "o"))
    held = (run / "held_out.txt").read_text().splitlines(keepends=True)
    (greedy / "held_out.txt").write_text("".join(held[:2]))
    done = evaluate(keys(world, f"{greedy},{run}", tmp_path / "p", "report=false"))
    assert len(done.references) == 2 and [s.name for s in done.systems] == ["run", "lora"]


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_one_line(world, run, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    for name in ("run.json", "run_state.json"):  # an adapter that somebody copied
        (bare / name).unlink()
    assert (
        len(evaluate(keys(world, bare, tmp_path / "o", "data.limit=1", "report=false")).references)
        == 1
    )
    for more, words in (
        ([f"adapter={tmp_path}/none"], "no such folder"),
        ([f"data.path={tmp_path}/none"], "no prepared dataset there"),
        (["frames.method=zscore"], "policy=scene has no methods"),
        ([f"adapter={run},{run}"], "two systems of one name"),
        (["data.path=prepared", f"out={run}/run.json"], "cannot be made"),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(keys(world, run, tmp_path / "x", *more))


@pytest.mark.slow
def test_the_page_in_a_browser(evaluated, tmp_path):
    """Opens without an error at two widths, sorts, filters, answers to keys."""
    _, out = evaluated
    ids = "[...document.querySelectorAll('.card:not([hidden])')].map(c => c.querySelector('h3').firstChild.textContent.trim())"
    change = "(id, value) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event(id === 'find' ? 'input' : 'change')); }"
    press = "(key) => document.dispatchEvent(new KeyboardEvent('keydown', {key}))"
    with Browser(tmp_path / "profile") as browser:
        for width in (390, 1200):
            opened = browser.open(
                out / "report.html",
                width=width,
                expressions=[
                    ids,
                    f"({change})('order', document.getElementById('order').options.length - 2); {ids}",
                    f"document.getElementById('turn').click(); {ids}",
                    f"({change})('find', {ids}[0]); {ids}",
                    f"({change})('find', 'no such words'); document.getElementById('count').textContent",
                    f"({change})('find', ''); ({change})('flag', '*'); {ids}.length",
                    f"({change})('flag', ''); document.body.focus(); ({press})('j'); document.activeElement.className",
                    f"({press})('/'); document.activeElement.id",
                    "document.documentElement.scrollWidth",
                ],
            )
            assert opened.problems == []
            first, low, high, one, none, flagged, focus, slash, wide = opened.values
            assert len(first) == 5 and sorted(low) == sorted(first) and low == high[::-1]
            assert one == [high[0]] and none == "0 of 5" and flagged == 5
            assert focus == "card" and slash == "find" and wide <= width


def test_texts_are_texts_in_the_page(tmp_path):
    nasty = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
    true = {nasty: {"duration": 5, "timestamps": [[0, 5]], "sentences": [nasty]}}
    (tmp_path / "t.json").write_text(json.dumps(true))
    (tmp_path / "p.json").write_text(
        json.dumps({"results": {nasty: [{"sentence": nasty, "timestamp": [0, 5]}]}})
    )
    argv = [f"predictions={tmp_path}/p.json", f"references={tmp_path}/t.json", f"out={tmp_path}/o"]
    evaluate(load(EvaluateConfig, argv))
    with Browser(tmp_path / "profile") as browser:
        opened = browser.open(
            tmp_path / "o/report.html",
            width=800,
            expressions=["document.title", "document.images.length"],
        )
    assert opened.values == ["p", 0] and opened.problems == []


@pytest.mark.slow
def test_a_benchmark_for_vlmevalkit(world, tmp_path):
    """Export, answers as its JSON has them, scores: what is exported is what is scored."""
    argv = [f"data.path={world}", "data.eval_share=0.2", "name=mine", f"out={tmp_path}/lmu"]
    (tmp_path / "merged").mkdir()
    done = call_command(
        "scripts/export_benchmark.py", *argv, f"model={os.path.relpath(tmp_path / 'merged', ROOT)}"
    )
    assert done.returncode == 0 and "PRED_FORMAT=json python run.py --config" in done.stdout, (
        done.stderr
    )
    csv.field_size_limit(10**7)
    with (tmp_path / "lmu/mine.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 5 and list(rows[0]) == ["index", "image_path", "question", "answer"]
    for row in rows:
        for path in json.loads(row["image_path"]):
            assert Path(path).read_bytes()[:2] == b"\xff\xd8"
    content = json.loads((tmp_path / "lmu/mine.json").read_text())
    assert content["model"] == {
        "merged": {"class": "SmolVLM2", "model_path": str(tmp_path / "merged")}
    }
    said = [
        {"index": r["index"], "question": r["question"], "prediction": r["answer"]} for r in rows
    ]
    (tmp_path / "answers.json").write_text(json.dumps(said))
    argv = [
        f"predictions={tmp_path}/answers.json",
        f"references={tmp_path}/lmu/mine-references.json",
        f"out={tmp_path}/o",
    ]
    scored = evaluate(load(EvaluateConfig, [*argv, "report=false"])).scored[0]
    assert scored["scene_f1"].value == 1 and scored["soda_c"].value > 0.6  # times are whole seconds
    done = call_command(
        "scripts/export_benchmark.py", f"data.path={world}", f"out={tmp_path}", "name=../up"
    )
    assert done.returncode == 2 and "it names files" in done.stderr


def test_policies_that_differ_in_pixels_alone_are_two():
    variants = [
        FrameKeys(policy="fps", fps=1),
        FrameKeys(policy="fps", fps=2),
        FrameKeys(),
        FrameKeys(px=256),
        FrameKeys(policy="uniform"),
    ]
    names = ["fps fps=1.0", "fps fps=2.0", "scene px=512", "scene px=256", "uniform"]
    assert frames_names(variants) == names and frames_names(variants[:1]) == [""]
