"""The bars of selection that need no clock, on a small set of built videos, by the real command."""

import json

import pytest

from tests.helpers.videos import run_command

pytestmark = pytest.mark.slow


def test_built_videos(tmp_path):
    out = tmp_path / "figures.json"
    done = run_command(
        "scripts/bench_selection.py", "parts=[built]", "per_half=1", "clips=null",
        f"work={tmp_path}", f"json={out}", timeout_s=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["hard_cut_f1"] >= 0.97 and figures["gradual_f1"] >= 0.85
    assert figures["false_cuts_per_shot_flash_motion"] <= 0.02
    assert figures["time_error_s"] < 1e-3
    ours, others = (
        sum(figures[f"{name}_{budget}"] for budget in (8, 16, 32))
        for name in ("event_recall", "best_other_recall")
    )
    assert ours >= others
    assert figures["worst_group_over_uniform"] >= -0.03  # one event of a small group
    assert "| scene |" in done.stdout and "not measured" in done.stdout
