"""The experiment behind the README's table, one seed and small: its whole way. What wins is for the whole one to say."""

import json

import pytest

from tests.helpers.videos import call_command

pytestmark = pytest.mark.slow


def test_the_experiment_runs(tmp_path):
    argv = [
        "seeds=0",
        "policies=scene,uniform",
        "videos=300",
        "held_out=30",
        "steps=10",
        "prewarm_steps=20",
        "workers=1",
        f"work={tmp_path}/work",
        f"json={tmp_path}/scores.json",
    ]
    done = call_command("scripts/bench_policies.py", *argv)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["scene/scenes_with_a_frame"] > 0.98 > 0.9 > found["uniform/scenes_with_a_frame"]
    assert "scene_minus_uniform/f1_one_to_one_tiou>=0.5" in found
    for measure in ("scene_f1", "soda_c"):
        own = found[f"scene/scene/{measure}"]
        assert found[f"scene/scene/{measure}/low"] <= own <= found[f"scene/scene/{measure}/high"]
    assert "scene/uniform/scene_f1" in found
    assert (
        found["whole_seconds/scene_f1"] == 1 and "| trained with | described with |" in done.stdout
    )
