"""A run to the Hub and back by its name: the real client, over HTTP, to a stand-in on this machine."""

import json
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from safetensors.torch import load_file

from data.errors import UserError
from data.hub import hub_errors
from tests.helpers.hub import Seen, environment, serve
from tests.helpers.runs import train
from tests.helpers.videos import ROOT, run_command
from train.hub.card import model_card
from train.hub.push import files_to_push

TOKEN = "hf_" + "secret" * 5


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "clips"
    train(world, out, "train.save_every=2")
    return out


@pytest.fixture
def hub(tmp_path):
    repo, public, theirs = (tmp_path / n for n in ("repo", "public", "theirs"))
    for folder in (repo, public, theirs):
        folder.mkdir()
    (theirs / "pytorch_model.bin").write_bytes(b"theirs")
    seen = Seen()
    with serve(
        {"you/clips": repo, "open/clips": public, "you/theirs": theirs},
        {"acme/x": (403, "")},
        seen=seen,
    ) as url:
        yield environment(url, tmp_path / "home", HF_TOKEN=TOKEN), repo, seen


def push(run, hub, *more, repo="you/clips", **changed):
    return run_command(
        "scripts/push.py", f"run={run}", f"hub.repo={repo}", *more, **{**hub[0], **changed}
    )


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def metadata(repo):
    return yaml.safe_load((repo / "README.md").read_text().split("---")[1])


def test_the_commit_is_the_run_without_pickles_folders_or_token(trained, hub, tmp_path):
    done = push(trained, hub)
    assert done.returncode == 0, done.stderr[-2000:]
    _, repo, _ = hub
    there = files(repo)
    assert {
        "README.md",
        "adapter_model.safetensors",
        "adapter_config.json",
        "frame_policy.json",
        "config.yaml",
        "run.json",
        "metrics.jsonl",
        "curves.png",
        "base/model.safetensors",
        "tokenizer.json",
    } <= there
    assert not any(
        name.endswith((".pt", ".bin", ".pth", ".pkl")) or "checkpoint" in name for name in there
    )
    for same in (
        "adapter_model.safetensors",
        "frame_policy.json",
        "metrics.jsonl",
        "base/model.safetensors",
    ):
        assert (repo / same).read_bytes() == (trained / same).read_bytes()
    for file in (p for p in repo.rglob("*") if p.is_file()):
        content = file.read_bytes()
        assert TOKEN.encode() not in content and str(trained.parent).encode() not in content, file
    for file in (p for p in trained.rglob("*") if p.is_file()):
        assert TOKEN.encode() not in file.read_bytes()
    assert TOKEN not in done.stdout + done.stderr
    assert metadata(repo)["library_name"] == "peft" and metadata(repo)["license"] == "apache-2.0"
    assert "scripts/describe.py VIDEO adapter=you/clips" in (repo / "README.md").read_text()


@pytest.mark.slow
def test_a_push_that_was_stopped_sends_no_weights_again(trained, hub):
    seen = hub[2]
    seen.failing_commits = 100
    stopped = push(trained, hub)
    assert stopped.returncode == 2 and "the Hub answers 500" in stopped.stderr
    sent = len(seen.uploaded)
    assert sent >= 3 and "Traceback" not in stopped.stderr
    seen.failing_commits = 0
    stale = (
        "model.safetensors",
        "config.json",
        "evaluation.json",
    )  # a whole model was there before
    for name in (*stale, "frame_policy.json", "notes.txt"):
        (hub[1] / name).write_text("{}")
    assert push(trained, hub).returncode == 0
    assert len(seen.uploaded) == sent and (hub[1] / "adapter_model.safetensors").is_file()
    assert not any((hub[1] / name).exists() for name in stale)
    assert (hub[1] / "notes.txt").is_file() and (hub[1] / "base/config.json").is_file()


def test_a_base_in_a_folder_is_not_taken_for_one_on_the_hub(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "base")
    record = json.loads((run / "run.json").read_text())
    dataset = {
        **record["dataset"],
        "rows": 10_000,
        "videos": 10_000,
        "held_out_videos": 200,
        "path": "clients/acme/prepared",
        "sources": [
            {"name": "jsonl", "path": "clients/acme/clips.jsonl"},
            {"name": "jsonl", "path": "s3://key:secret@bucket/clips.jsonl?token=x"},
        ],
    }
    told = {**record, "base": "runs/stage1", "base_is_folder": True, "dataset": dataset}
    (run / "run.json").write_text(json.dumps(told))
    adapter = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(
        json.dumps({**adapter, "base_model_name_or_path": "runs/stage1"})
    )
    policy = json.loads((run / "frame_policy.json").read_text())
    (run / "frame_policy.json").write_text(
        json.dumps({**policy, "frames": {**policy["frames"], "encoder": "/home/acme/siglip"}})
    )
    contents = files_to_push(run, "you/clips")
    assert "scripts/merge.py makes one whole model" in capsys.readouterr().err
    text = {
        name: c.decode()
        for name, c in contents.items()
        if isinstance(c, bytes) and name != "curves.png"
    }
    for name, content in text.items():
        assert not any(word in content for word in ("runs/stage1", "acme", "secret", "token=")), (
            name
        )
    assert (
        "s3://bucket/clips.jsonl" in text["run.json"]
        and '"encoder": "siglip"' in text["frame_policy.json"]
    )
    assert "base_model" not in yaml.safe_load(text["README.md"].split("---")[1])
    assert "10000 videos, 200 of them held out" in text["README.md"]
    assert "hub" not in yaml.safe_load(text["config.yaml"])


def test_a_source_of_ones_own_has_a_card(trained, tmp_path):
    """As CONTRIBUTING says how to add one, and where it is not here any more."""
    run = shutil.copytree(trained, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["sources"] = [{"name": "mydataset"}, {"name": "finevideo"}]
    (run / "run.json").write_text(json.dumps(record))
    text = model_card(run, "you/clips")
    assert "| mydataset | not known; ask its makers |" in text
    assert yaml.safe_load(text.split("---")[1])["datasets"] == ["HuggingFaceFV/finevideo"]


def test_what_the_plain_code_needs_is_what_the_card_installs(trained):
    """transformers' processor of SmolVLM wants more than transformers itself asks for."""
    line = model_card(trained, "you/clips").split("(`pip install ")[1].split("`")[0]
    wanted = {Requirement(one).name for one in shlex.split(line)}
    assert wanted == {"transformers", "peft", "torch", "torchvision", "pillow", "num2words", "av"}
    with (ROOT / "pyproject.toml").open("rb") as file:
        ours = {r.name: r for r in map(Requirement, tomllib.load(file)["project"]["dependencies"])}
    (transformers,) = (r for r in map(Requirement, shlex.split(line)) if r.name == "transformers")
    assert transformers.specifier == ours["transformers"].specifier


def test_a_file_that_cannot_be_sent_is_one_line():
    with (
        pytest.raises(UserError, match=r"hub\.repo=a/b: not sent \(Error while uploading\)"),
        hub_errors("a/b", key="hub.repo", writing=True),
    ):
        raise RuntimeError("Error while uploading\nand more")
    with pytest.raises(RuntimeError), hub_errors("a/b"):
        raise RuntimeError("ours")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"repo": "acme/x"}, "no right to write there"),
        ({"repo": "open/clips"}, "is public; hub.private=false"),
        ({"repo": "you/theirs"}, "holds something that was not pushed from here"),
        ({"repo": "clips"}, "write owner/name"),
        ({"HF_TOKEN": ""}, "no token: `hf auth login`"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(trained, hub, more, said):
    done = push(trained, hub, **more)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_scores_stand_in_the_metadata(trained, hub, tmp_path):
    figures = {
        "soda_c": {"value": 0.25, "low": 0.2, "high": 0.3},
        "cider_d": {"value": None, "low": None, "high": None},
    }
    one = {"about": {"model": str(trained)}, "scores": figures}
    other = {
        "about": {"model": "elsewhere"},
        "scores": {"soda_c": {"value": 0.9, "low": 0, "high": 1}},
    }
    record = {
        "videos": 12,
        "text_score": "meteor_lite",
        "systems": {"elsewhere": other, "clips": one},
    }
    (tmp_path / "scores.json").write_text(json.dumps(record))
    done = push(trained, hub, f"evaluation={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = metadata(hub[1])["model-index"][0]["results"]
    assert [(m["type"], m["value"], m["name"]) for m in result["metrics"]] == [
        ("soda_c", 0.25, "SODA c, F1 [0.200, 0.300]")
    ]
    assert "| SODA c, F1 | 0.250 | 0.200 – 0.300 |" in (hub[1] / "README.md").read_text()
    # the same run seeing other frames than it was trained with says nothing of what is pushed
    about = {"model": str(trained), "frames": {"policy": "uniform", "max": 6}}
    systems = {"elsewhere": other, "clips, uniform": {**one, "about": about}}
    (tmp_path / "scores.json").write_text(json.dumps({**record, "systems": systems}))
    refused = push(trained, hub, f"evaluation={tmp_path}")
    assert refused.returncode == 2 and "scores elsewhere, clips, uniform, not" in refused.stderr


@pytest.mark.slow
def test_a_run_pushes_itself_and_its_checkpoints_and_is_used_by_name(world, hub, tmp_path):
    done = run_command(
        "train/sft.py", "model.name=tiny", f"data.path={world}", "data.workers=0", "train.steps=4", "train.save_every=2",
        f"train.output={tmp_path}/run", "hub.push=true", "hub.repo=you/clips", "hub.checkpoints=true", **hub[0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "pushed to http" in done.stdout
    _, repo, _ = hub
    assert (repo / "checkpoint-2/adapter_model.safetensors").is_file()
    assert not (repo / "checkpoint-2/optimizer.pt").exists()
    video = str(next((world.parent / "videos").glob("*.mp4")))
    told = [
        run_command("scripts/describe.py", video, f"adapter={name}", "max_new_tokens=12", "format=json", **hub[0])
        for name in (tmp_path / "run", "you/clips", "you/clips@main")
    ]  # fmt: skip
    assert all(one.returncode == 0 for one in told), told[1].stderr[-2000:]
    assert json.loads(told[0].stdout) == json.loads(told[1].stdout) == json.loads(told[2].stdout)
    assert not list((tmp_path / "home").rglob("checkpoint-2"))
    lost = run_command("scripts/describe.py", video, "adapter=you/nothing", **hub[0])
    assert lost.returncode == 2 and "adapter=you/nothing: no such model on the Hub" in lost.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_card_s_plain_code_runs_as_pasted_and_asks_what_ours_asks(world, hub, tmp_path, method):
    out = tmp_path / "run"
    train(world, out, method=method)
    assert push(out, hub).returncode == 0
    code = (hub[1] / "README.md").read_text().split("```python\n")[1].split("```")[0]
    video = str(next((world.parent / "videos").glob("*.mp4")))
    assert "scenescribe" not in code and "import data" not in code
    code = code.replace("holiday.mp4", video).replace("max_new_tokens=512", "max_new_tokens=12")
    code += '\nprint(repr(processor.decode(inputs["input_ids"][0])))'
    environment = {**hub[0], "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    prompt = done.stdout.strip().splitlines()[-1]
    assert (
        "six frames" in prompt
        and "Describe what happens in this video, scene by scene, with times." in prompt
    )
    ours = run_command(
        "scripts/describe.py",
        video,
        "adapter=you/clips",
        "frames.policy=uniform",
        "max_new_tokens=12",
        **hub[0],
    )
    assert ours.returncode == 0
    assert ROOT.is_dir() and load_file(
        out / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
    )
