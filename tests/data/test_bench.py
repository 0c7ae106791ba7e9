"""The bench command: what it measures without a clock, and what it refuses."""

import json

import pytest

from tests.helpers.videos import run_command


@pytest.mark.slow
def test_labels_and_clips(real_clips, tmp_path):
    if not (real_clips.parent / "labels" / "shot_test.json").is_file():
        pytest.skip("no shot labels beside this checkout")
    out = tmp_path / "figures.json"
    done = run_command("scripts/bench_selection.py", "parts=[labels,clips]", f"json={out}")
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    bars = {8: 0.490, 16: 0.778, 32: 0.951, 64: 0.990}
    for budget, bar in bars.items():
        assert figures[f"shot_recall_{budget}"] >= bar
    assert figures["below_uniform_32"] < 8 and figures["below_uniform_64"] < 4
    assert figures["real_cuts_missed"] == 0 and figures["real_cuts_false"] <= 2
    assert figures["real_events_lost_8"] == figures["real_events_lost_fast_16"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["parts=[sped]"], "did you mean 'speed'?"),
        (["video=nowhere.mp4"], "video=nowhere.mp4: no such file"),
        (["parts=[clips]", "clips=nowhere"], "no clips.jsonl in it"),
        (["parts=[labels]", "labels=nowhere"], "labels=nowhere"),
        (["parts=[labels]", "json=nowhere/x.json"], "no such folder"),
    ],
)
def test_refusals(arguments, message):
    done = run_command("scripts/bench_selection.py", *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_without_labels_it_says_so():
    done = run_command(
        "scripts/bench_selection.py", "parts=labels,clips", "labels=null", "clips=null"
    )
    assert done.returncode == 0 and done.stdout.count("not measured") == 2
