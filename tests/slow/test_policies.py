"""The experiment behind the README's table, one seed and small: its whole way, and no loss by scene."""

import json

import pytest

from tests.helpers.videos import run_command

pytestmark = pytest.mark.slow


def test_the_experiment_runs_and_scene_does_not_lose(tmp_path):
    argv = [
        "seeds=0",
        "policies=scene,uniform",
        "videos=900",
        "held_out=60",
        "steps=360",
        "prewarm_steps=450",
        f"work={tmp_path}/work",
        f"json={tmp_path}/scores.json",
    ]
    done = run_command("scripts/bench_policies.py", *argv, timeout_s=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["scene/scenes_with_a_frame"] > 0.98 > 0.9 > found["uniform/scenes_with_a_frame"]
    # one seed of this size tells scene F1 of .51 from .40, or of .45 from .43, and of times nothing: the
    # intervals are over videos, and tIoU F1 came out .35 and .41, .41 and .44 by seed and machine. That scene
    # wins is shown by the whole experiment; here it must not be seen to lose what it is about
    assert "scene_minus_uniform/f1_one_to_one_tiou>=0.5" in found
    for measure in ("scene_f1", "soda_c"):
        own = found[f"scene/scene/{measure}"]
        assert found[f"scene/scene/{measure}/low"] <= own <= found[f"scene/scene/{measure}/high"]
        assert found[f"scene_minus_uniform/{measure}/high"] > 0, measure
    assert found["scene/scene/scene_f1"] > 0.25  # it has learned to see
    assert (
        "scene/uniform/scene_f1" in found
    )  # that, and what a mismatch costs, wants longer training
    assert (
        found["whole_seconds/scene_f1"] == 1 and "| trained with | described with |" in done.stdout
    )
