import pytest
from pydantic import Field

from data.config import Section, leaves, load, resolved
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.selection.config import FrameKeys
from data.usage import show, usage
from tests.helpers.videos import ROOT, run_command
from train.config import TrainConfig
from train.evaluation.config import EvaluateConfig
from train.inference.config import DescribeConfig
from train.memory.config import PlanConfig

OUT = ["source=jsonl", "out=x"]


PREPARES = ["finevideo-500", "sources"]
"""Recipes of scripts/prepare.py; the others train."""
RECIPES = sorted(
    str(p.relative_to(ROOT / "recipes").with_suffix(""))
    for folder in ("recipes", "recipes/stages")
    for p in (ROOT / folder).glob("*.yaml")
)


@pytest.mark.parametrize("recipe", PREPARES)
def test_every_recipe_of_prepare_loads(recipe):
    config = load(PrepareConfig, [f"recipe={recipe}"])
    header = (ROOT / "recipes" / f"{recipe}.yaml").read_text().split("\n\n")[0]
    assert "Launch:" in header and "accept the terms" in header
    assert config.source.name == "finevideo" or len(config.sources) == 2


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r not in PREPARES])
def test_every_recipe_loads(recipe):
    config = load(TrainConfig, [f"recipe={recipe}"])
    header = (ROOT / "recipes" / f"{recipe}.yaml").read_text().split("\n\n")[0]
    assert all(word in header for word in ("Launch:", "Card", "emory", "ime"))
    assert load(TrainConfig, []).model_fields_set != config.model_fields_set


def test_defaults_then_recipe_then_command_line(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("optim: {lr: 1e-4, clip: 2}\n")  # YAML 1.1 reads 1e-4 as text
    config = load(TrainConfig, [f"recipe={recipe}", "optim.lr=3e-4"])
    assert (config.optim.lr, config.optim.clip, config.optim.warmup) == (3e-4, 2.0, 0.03)


def test_a_section_may_be_named_in_one_word():
    for words in (["source=jsonl", "source.path=a"], ["source.path=a", "source=jsonl"]):
        source = load(PrepareConfig, [*words, "out=x"]).source
        assert (source.name, source.path) == ("jsonl", "a")


def test_all_mistakes_at_once_with_the_nearest_key():
    with pytest.raises(UserError) as caught:
        load(
            TrainConfig,
            ["optim.lrr=3", "model.nme=x", "lr=3", "train.batch=0", "--help-me", "optim.lr=nan"],
        )
    lines = str(caught.value).splitlines()
    assert "optim.lrr: no such key, did you mean 'optim.lr'?" in lines
    assert "model.nme: no such key, did you mean 'model.name'?" in lines
    assert "lr: no such key, did you mean 'optim.lr'?" in lines
    assert any(line.startswith("train.batch: ") and "got '0'" in line for line in lines)
    assert any(line.startswith("--help-me: write key=value") for line in lines)
    assert any(line.startswith("optim.lr: ") and "finite" in line for line in lines)
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recipe=qlor"], "did you mean 'qlora'"),
        (["optim.lr=1", "optim.lr=2"], "given twice"),
        (["train.method=lora", "optim.lr_vision=1e-5"], "needs train.method=full"),
        (["train=lora"], "train"),
        (["model.name.x=3"], "model.name"),
        (["data.eval_share=1"], "less than 1"),
        (["data.prompt=[]"], "at least 1 item"),
        (["=3"], "ends in a dot"),
        (["optim.=3"], "ends in a dot"),
    ],
)
def test_mistakes(argv, message):
    with pytest.raises(UserError, match=message):
        load(TrainConfig, argv)


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2\n", "\x00", "just text", "a: 2024-99-99"])
def test_a_broken_recipe_is_one_line(tmp_path, content):
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        load(TrainConfig, [f"recipe={tmp_path}/r.yaml"])
    assert len(str(caught.value).splitlines()) == 1


def test_null_lists_and_text():
    config = load(
        TrainConfig, ["data.prompt=[What happens?, Tell me]", "train.steps=null", "data.system=yes"]
    )
    assert config.data.prompt == ("What happens?", "Tell me")
    assert config.train.steps is None and config.data.system == "yes"


def test_the_resolved_config_replays(tmp_path):
    import json

    import yaml

    config = load(TrainConfig, ["recipe=full", "data.prompt=[a, b]", "optim.lr=1e-5"])
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(resolved(config)))))
    assert load(TrainConfig, [f"recipe={tmp_path}/c.yaml"]) == config


def test_every_key_has_a_meaning():
    for model in (TrainConfig, PrepareConfig, DescribeConfig):
        for key, field in leaves(model):
            assert field.description, key
    assert "optim.lr=" in show(load(TrainConfig, []))
    assert "frames.max=32" in usage(PrepareConfig, "doc")
    assert "frames.circular" not in usage(PrepareConfig, "doc")
    every = usage(PrepareConfig, "doc", everything=True)
    assert "frames.circular=False" in every and "\nframes: How frames are chosen" in every
    for model in (PrepareConfig, TrainConfig, DescribeConfig, EvaluateConfig, PlanConfig):
        known = dict(leaves(model))
        assert model.COMMON and set(model.COMMON) <= set(known)
        whole = usage(model, "doc", everything=True)
        assert all(f"  {key}=" in whole for key in known)


def test_files_are_collected_even_with_an_equals_sign(tmp_path):
    class Config(Section):
        videos: tuple[str, ...] = Field(default=(), description="files")
        frames: FrameKeys = FrameKeys()

    odd = tmp_path / "a=b.mp4"
    odd.touch()
    config = load(Config, ["x.mp4", str(odd), "frames.max=3"], files="videos")
    assert config.videos == ("x.mp4", str(odd)) and config.frames.max == 3


def test_refusal_is_quick_and_before_torch():
    done = run_command(
        "-X", "importtime", "train/sft.py", "recipe=qlora", "optim.lrr=3", "model.nme=x"
    )
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert len(said) == 2 and "model.name'?" in said[0] and "optim.lr'?" in said[1]
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert imported and not imported & {"torch", "transformers", "datasets", "av", "numpy"}


def test_config_module_prints_the_resolved_keys():
    done = run_command("-m", "train.config", "recipe=qlora")
    assert done.returncode == 0 and "train.method=qlora" in done.stdout
    assert "model.name=HuggingFaceTB/SmolVLM2-2.2B-Instruct" in done.stdout


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "scripts").glob("*.py")))
def test_every_script_has_help(script):
    done = run_command(f"scripts/{script}", "--help")
    assert done.returncode == 0 and "keys (key=value):" in done.stdout


def test_old_names_of_keys_are_accepted_with_a_note(capsys):
    config = load(TrainConfig, ["train.keep=3", "eval.text=meteor"])
    assert config.train.keep_checkpoints == 3 and config.eval.soda_text == "meteor"
    assert capsys.readouterr().err.splitlines() == [
        "note: train.keep is train.keep_checkpoints now; write that",
        "note: eval.text is eval.soda_text now; write that",
    ]
    with pytest.raises(UserError, match="given twice, as keep too, its old name"):
        load(TrainConfig, ["train.keep=3", "train.keep_checkpoints=4"])
    capsys.readouterr()
    scored = ["predictions=p.json", "references=r.json", "out=o", "compat=true"]
    assert load(EvaluateConfig, scored).published_soda
    assert FrameKeys.model_validate({"policy": "l1", "rate": 2}).candidate_fps == 2  # as stored
    assert capsys.readouterr().err.count("note:") == 1
