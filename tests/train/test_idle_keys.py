"""A key that is set and changes nothing is refused as a typo is, in one line that says what would heed it."""

from pathlib import Path

import pytest

from data.config import load
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.preview.config import PreviewConfig
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, SHARED
from data.sources.config import SourceKeys
from train.config import TrainConfig
from train.evaluation.config import EvaluateConfig
from train.inference.config import DescribeConfig
from train.inference.rows import frames_for
from train.memory.config import PlanConfig
from train.run.policy import RunPolicy
from train.run.saved import SavedRun
from train.sections import DataKeys

PREPARE = ["source=jsonl", "source.path=a.jsonl", "out=o"]
SCORED = ["predictions=p.json", "references=r.json", "out=o"]


def refused(model, keys, words):
    with pytest.raises(UserError, match=words) as error:
        load(model, keys)
    assert len(str(error.value).splitlines()) == 1


def test_every_key_of_frames_belongs_to_a_policy():
    known = SHARED.union(*(policy.keys for policy in POLICIES.values()))
    assert known == set(FrameKeys.model_fields)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["frames.fps=2"], r"frames\.fps: no key of policy=scene, but of fps, smolvlm"),
        (["frames.policy=uniform", "frames.candidate_fps=2"], r"frames\.candidate_fps: no key of policy=uniform"),
        (["frames.policy=scene", "frames.detector=hash"], r"frames\.detector: .* but of shots"),
        (["frames.policy=fps", "frames.query=a dog"], r"frames\.query: .* but of query"),
        (["frames.policy=shots", "frames.max_gap_s=3"], r"frames\.max_gap_s: .* but of scene"),
        (["frames.policy=keyframes", "frames.speed=fast"], "I-frames only anyway"),
        (["frames.policy=embedding", "frames.encoder=e", "frames.method=maxvol", "frames.threshold=.5"], "method=maxvol has none"),
        (["address=auto"], "engine=ray"),
        (["source.weight=2"], "of a mixture"),
    ],
)  # fmt: skip
def test_prepare(keys, words):
    refused(PrepareConfig, [*PREPARE, *keys], words)


def test_sources():
    refused(
        PrepareConfig,
        ["source=finevideo", "source.shares=[.8,.1,.1]", "out=o"],
        r"give source\.split",
    )
    refused(
        PrepareConfig,
        ["source=finevideo", "source.path=here", "source.revision=v2", "out=o"],
        "of the Hub",
    )
    good = load(
        PrepareConfig,
        ["source=finevideo", "source.shares=[.8,.1,.1]", "source.split=train", "out=o"],
    )
    assert good.source.split == "train"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["train.method=full", "lora.r=8"], r"lora\.r: train\.method=full has no adapter"),
        (["train.pack_tokens=4096"], r"train\.pack=true"),
        (["data.shuffle_buffer=64"], r"data\.stream=true"),
        (["train.save_every=5", "eval.best=loss"], r"train\.eval_every"),
        (["train.eval_every=5", "data.eval_share=0"], "no video is held out"),
        (["eval.generate_every=5", "eval.judge.workers=2"], r"eval\.judge\.workers: .* give eval\.judge\.model"),
        (["log.project=mine"], r"give log\.to"),
        (["hub.repo=me/it"], r"hub\.push=true"),
    ],
)  # fmt: skip
def test_training_and_its_plan(keys, words):
    refused(TrainConfig, keys, words)
    refused(PlanConfig, keys, words)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([*SCORED, "data.part=all"], r"data\.part: predictions is only scored"),
        ([*SCORED, "generate.batch=2"], r"generate\.batch: predictions"),
        ([*SCORED, "frames.max=8"], r"frames\.max: predictions"),
        ([*SCORED, "model.dtype=fp16"], r"model\.dtype: predictions"),
        ([*SCORED, "judge.workers=2"], r"judge\.workers: .* give judge\.model"),
        (["compare=a,b", "data.path=d"], r"data\.path: compare"),
        (["adapter=r", "data.path=d", "out=o", "references=r.json"], "references: of predictions"),
    ],
)
def test_evaluate(keys, words):
    refused(EvaluateConfig, keys, words)
    load(EvaluateConfig, [*SCORED, "generate.seed=3", "data.path=d"])  # of the resampling; pictures


def test_of_several_policies_each_takes_what_is_its_own():
    keys = [
        "adapter=r",
        "data.path=d",
        "out=o",
        "frames.policy=fps,shots,uniform",
        "frames.fps=2",
        "frames.threshold=20,30",
    ]
    sets = load(EvaluateConfig, keys).frame_sets
    assert [(f.policy, f.fps, f.threshold) for f in sets] == [
        ("fps", 2, None),
        ("shots", 1, 20),
        ("shots", 1, 30),
        ("uniform", 1, None),
    ]
    assert [f.unused() for f in sets] == [{}] * 4
    shown = load(PreviewConfig, ["frames.policy=fps,scene", "frames.fps=2", "a.mp4"], "videos")
    assert [f.fps for f in shown.every] == [2, 2]
    with pytest.raises(UserError, match=r"frames\.query: no key of policy=fps"):
        load(PreviewConfig, ["frames.policy=fps,scene", "frames.query=x", "a.mp4"], "videos")


def test_keys_for_a_run_are_weighed_by_its_own_policy():
    run = SavedRun.__new__(SavedRun)
    policy = RunPolicy(FrameKeys(policy="fps", fps=2, max=8), DataKeys())
    object.__setattr__(run, "policy", policy)
    object.__setattr__(run, "trained", None)
    given = load(DescribeConfig, ["adapter=r", "frames.candidate_fps=2"]).frames
    with pytest.raises(UserError, match=r"frames\.candidate_fps: no key of policy=fps"):
        frames_for(run, given)


def test_what_is_stored_is_not_questioned():
    """An older run's record may hold a key that its policy never heeded."""
    stored = FrameKeys.model_validate({"policy": "scene", "fps": 2.0})
    assert PrepareConfig(source=SourceKeys(name="microworld"), frames=stored, out="o").idle()


# --- lists and homes -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Football,Tennis", "Football, Tennis", "[Football,Tennis]"])
def test_commas_make_a_list(text):
    keys = load(
        PrepareConfig, ["source=finevideo", f"source.category={text}", "source.ids=a,b", "out=o"]
    )
    assert keys.source.category == ("Football", "Tennis") and keys.source.ids == ("a", "b")


def test_a_home_is_expanded_wherever_it_stands(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("data: {path: ~/there}\n")
    config = load(TrainConfig, ["recipe=~/mine.yaml", "train.output=~/runs/a", "model.name=~/m"])
    assert (config.data.path, config.train.output) == (f"{tmp_path}/there", f"{tmp_path}/runs/a")
    several = load(EvaluateConfig, ["compare=~/a,~/b"]).compare
    assert several == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert load(TrainConfig, ["data.prompt=What? a~/b"]).data.prompt == "What? a~/b"
    assert load(DescribeConfig, ["adapter=~/r", "~/v.mp4"], "videos").videos == (
        f"{tmp_path}/v.mp4",
    )
    assert Path(config.model.name).is_absolute()
