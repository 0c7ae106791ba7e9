"""The bars of selection that need no clock, on a small set of built videos, by the real command."""

import json

import pytest

from data.sources import microworld
from tests.helpers.videos import call_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder for built videos, which are rendered once."""
    return tmp_path_factory.mktemp("built")


def test_built_videos(built, tmp_path):
    out = tmp_path / "figures.json"
    done = call_command(
        "scripts/bench_selection.py", "parts=[built]", "per_half=1", "clips=null",
        f"work={built}", f"json={out}",
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


def figures_of(script, tmp_path, *keys):
    out = tmp_path / "figures.json"
    done = call_command(f"scripts/{script}.py", *keys, f"json={out}")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text()), done.stdout


def test_describing_says_what_the_pipeline_says(tmp_path):
    """Batched or one video at a time: the same texts. Memory is that of the command, so it holds the libraries."""
    keys = ["models=tiny", "videos=4", "repeats=1", "new_tokens=6", "memory=[3]"]
    figures, _ = figures_of("bench_describe", tmp_path, *keys)
    assert figures["tiny/same_texts"] == 1
    assert figures["tiny/ours/videos_a_minute"] > 0 and 200 < figures["memory/3/peak_mib"] < 8000


def test_windows_against_one_pass(tmp_path):
    """Every way is trained, describes whole films and is scored; perfect answers are near one."""
    keys = [
        "ways=windows,one_pass",
        "films=24",
        "film_s=[30,90]",
        "steps=3",
        "prewarm_steps=20",
        "frames=4",
        "workers=1",
    ]
    figures, said = figures_of("bench_windows", tmp_path, *keys, f"work={tmp_path}/work")
    assert figures["up to 1 min/films"] + figures["1 to 2 min/films"] == 4
    assert figures["2 to 10 min/films"] == 0
    group = "up to 1 min" if figures["up to 1 min/films"] else "1 to 2 min"
    assert figures[f"{group}/perfect in tenths/f1_one_to_one_tiou>=0.5"] == 1
    name = "f1_one_to_one_tiou>=0.5"
    lead = figures[f"{group}/windows/{name}"] - figures[f"{group}/one_pass/{name}"]
    assert abs(figures[f"{group}/windows_minus_one_pass/{name}"] - lead) < 1e-9
    assert "| windows |" in said and "| one_pass |" in said


def test_learned_choice_beside_rules(built, tmp_path):
    """Boundaries of built videos: what is learned is as good as the rule, and cheap. Values and events: every part
    is trained and judged; the gap is between scene and the best subset."""
    ways = "ways=scene,scene (learned),shots (adaptive)"
    keys = ["parts=boundaries", "per_half=1", ways, f"work={built}"]
    figures, said = figures_of("bench_learned", tmp_path, *keys)
    learned, rule = (figures[f"built/{way}/f1"] for way in ("scene (learned)", "scene"))
    assert learned >= rule - 0.01 and learned >= 0.95
    assert figures["built/scene (learned)/cpu_s"] < 1.5 * figures["built/scene/cpu_s"]
    assert "| shots (adaptive) |" in said
    keys = [
        "parts=values,scenes,events",
        "worlds=busy",
        "seeds=0",
        "videos=60",
        "held_out=4",
        "learn_videos=8",
        "steps=3",
        "selector_steps=3",
        "prewarm_steps=20",
        "budgets=2,4",
        "pool=8",
        "workers=1",
        f"work={tmp_path}/values",
    ]
    figures, said = figures_of("bench_learned", tmp_path, *keys)
    assert figures["busy/2/videos"] > 0 and figures["busy/2/scene/closed"] == 0
    for name in ("uniform", "rank (allocate)", "reinforce (topn)"):
        assert figures["busy/2/best"] <= figures[f"busy/2/{name}"]
        assert figures[f"busy/4/{name}/closed/low"] <= figures[f"busy/4/{name}/closed/high"]
    assert 0 <= figures["busy/scenes/learned/learned/scene_f1"] <= 1
    assert figures["busy/scenes/scene/scenes_with_a_frame"] > 0
    assert 0 <= figures["busy/events/learned/seed_0/recall"] <= 1
    assert figures["busy/events/shots/seed_0/recall"] > 0.5
    assert "| busy | rank (allocate) |" in said and "| busy | best subset |" in said


def test_small_text_is_read_in_quarters_of_a_frame(tmp_path):
    keys = ["parts=tiles", "seeds=0", "videos=500", "steps=220", "prewarm_steps=450"]
    figures, said = figures_of("bench_tokens", tmp_path, *keys, f"work={tmp_path}/work")
    whole, tiled = (figures[f"signs/tiles={n}"] for n in (0, 1))
    assert tiled > 0.5 and tiled - whole > 0.15, said


def test_what_the_papers_do_otherwise(tmp_path):
    """Each way is trained and judged; of the verbs, at about equal picture tokens."""
    keys = [
        "parts=verbs,questions,compress",
        "seeds=0",
        "videos=40",
        "steps=3",
        "prewarm_steps=20",
        "workers=1",
    ]
    figures, said = figures_of("bench_tokens", tmp_path, *keys, f"work={tmp_path}/work")
    tokens = [
        value
        for key, value in figures.items()
        if key.startswith("verbs/") and key.endswith("picture_tokens")
    ]
    assert len(tokens) == 6 and max(tokens) < 1.2 * min(tokens)
    assert sum(key.startswith("questions/") and key.endswith("seed_0") for key in figures) == 3
    half, few = (
        figures[f"compress/{way}/picture_tokens"] for way in ("half left out", "1 frame a second")
    )
    assert abs(half - few) < 0.1 * few
    assert "| 3 whole, 12 small |" in said and "| 2 tokens, with a context token |" in said


def test_planted_labels_are_audited(tmp_path):
    """Every part runs, and counts what was planted. A model of a few steps knows nothing; the pictures tell."""
    keys = ["shares=0.2", "seeds=0", "videos=40", "held_out=4", "steps=2", "prewarm_steps=20"]
    keys += ["workers=1", f"work={tmp_path}/work"]
    figures, said = figures_of("bench_audit", tmp_path, *keys)
    assert len(json.loads((tmp_path / "work/bad-0.2/bad.json").read_text())) == 8
    assert figures["0.2/auc/seed_0"] >= 0.7 and 0 <= figures["0.2/recall"] <= 1
    assert figures["blind/seed_0/worth_low"] <= 0.05 and figures["blind/seed_0/worth_high"] >= -0.05
    assert "| 20% | gained |" in said


def test_subjects_in_boxes(tmp_path):
    """Each way is trained and judged; both subjects of a video are told apart by their events alone."""
    keys = ["seeds=0", "videos=20", "held_out=3", "steps=2", "prewarm_steps=20", "workers=1"]
    figures, said = figures_of("bench_regions", tmp_path, *keys, f"work={tmp_path}/work")
    assert 0 <= figures["boxes/scene_f1"] <= 1 and "| no boxes |" in said
    rows = [json.loads(line) for line in (tmp_path / "work/two-1.jsonl").read_text().splitlines()]
    assert {row["id"][-1] for row in rows} == {"a", "b"}
    assert all(0 <= edge <= 1 for row in rows for box in row["boxes"] for edge in box[1:])


def test_a_teacher_and_its_pupils(tmp_path):
    """The teacher's telling becomes a dataset, from which a pupil learns."""
    keys = [
        "seeds=0",
        "known=160",
        "known_steps=60",
        "videos=24",
        "few=20",
        "held_out=3",
        "steps=2",
    ]
    keys += ["prewarm_steps=20", "workers=1", f"work={tmp_path}/work"]
    figures, said = figures_of("bench_teacher", tmp_path, *keys)
    assert figures["told/seed_0"] + figures["not_told/seed_0"] == 24
    assert "| 20 true labels |" in said and "| 24 told by the teacher |" in said


def test_stages_beside_training_at_once(tmp_path):
    keys = [
        "seeds=0",
        "videos=60",
        "held_out=4",
        "steps=20",
        "prewarm_steps=20",
        "workers=1",
        'ways=["at once", "mixed at once", "connector, then all", "connector, short, dense"]',
        f"work={tmp_path}/work",
    ]
    figures, said = figures_of("bench_stages", tmp_path, *keys)
    assert figures["at once_minus_at once/scene_f1"] == 0
    assert all(
        figures[f"{way}/short_loss"] > 0
        for way in ("at once", "mixed at once", "connector, short, dense")
    )
    assert "| connector, then all |" in said


def test_ways_after_sft_on_poor_labels(tmp_path):
    """Each way goes on from the same model; what is trained is counted."""
    keys = [
        "parts=ways",
        "seeds=0",
        "cases=invented",
        "videos=40",
        "exact=20",
        "held_out=6",
        "steps=3",
    ]
    keys += ["dpo_steps=1", "grpo_steps=1", "prewarm_steps=20", "workers=1"]
    keys += ["ways=DPO of made worse,GRPO"]
    figures, said = figures_of("bench_prefer", tmp_path, *keys, f"work={tmp_path}/work")
    for way in ("SFT alone", "DPO of made worse", "GRPO"):
        assert f"| invented | {way} |" in said
        assert 0 <= figures[f"invented/{way}/soda_c"] <= 1
    assert figures["invented/GRPO/cpu_seconds"] > 0 == figures["invented/SFT alone/cpu_seconds"]
    lines = (tmp_path / "work/invented.jsonl").read_text().splitlines()
    told = [len(json.loads(line)["events"]) for line in lines]
    exact = [len(microworld.events(microworld.story(0, n))) for n in range(40)]
    assert 1 <= sum(told) - sum(exact) <= 15  # an invented scene in some
