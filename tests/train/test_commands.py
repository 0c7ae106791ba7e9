"""The commands as a user types them: launch, describe, and every refusal in one line."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from data.config import load
from tests.helpers.videos import ROOT, call_command, every, run_command, write_video
from train import sft
from train.config import TrainConfig

BIN = Path(sys.executable).parent


def launch(*arguments, **environment):
    return subprocess.run(
        [str(BIN / "accelerate"), "launch", *arguments],
        cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """A QLoRA run by the README's recipe."""
    out = tmp_path_factory.mktemp("runs") / "qlora"
    sft.main(load(TrainConfig, [*headline(world, out), "data.workers=0"]))
    return out


def headline(world, out):
    return [
        "recipe=qlora",
        "model.name=tiny",
        f"data.path={world}",
        "data.eval_share=0.2",
        "train.steps=2",
        f"train.output={out}",
    ]


@pytest.mark.slow
def test_the_readmes_command(world, tmp_path):
    out = tmp_path / "qlora"
    done = launch("train/sft.py", *headline(world, out))
    assert done.returncode == 0, done.stderr
    assert "held-out completion loss:" in done.stdout and f"adapter={out}" in done.stdout


@pytest.mark.slow
def test_describe_prints_text_or_an_object(run, world):
    video = next((world.parent / "videos").glob("*.mp4"))
    done = run_command(
        "scripts/describe.py", str(video), f"adapter={run}", "format=json", "max_new_tokens=12"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"text", "events", "times_s", "policy"} <= set(told)
    assert told["policy"]["policy"] == "scene" and 1 <= len(told["times_s"]) <= 6
    done = run_command(
        "scripts/describe.py",
        str(video),
        str(video),
        f"adapter={run}",
        "frames.max=3",
        "max_new_tokens=3",
    )
    assert done.returncode == 0 and done.stdout.count(str(video)) == 2
    assert "note: frames.max=3 is not what" in done.stderr


@pytest.mark.slow
def test_describe_sees_what_training_saw(run, world):
    """The frames and prompt of a new video are those that prepare stored for it, byte for byte."""
    from data.prepared.dataset import Prepared
    from data.selection.config import FrameKeys
    from train.inference.generate import generation_prompt
    from train.inference.rows import as_row, windows_or_refuse
    from train.model.load import load_processor
    from train.run.saved import read_run

    saved = read_run(run)
    processor = load_processor(saved.base)
    row = Prepared.open(world).rows()[0]
    (chosen,) = windows_or_refuse(str(world.parent / "videos" / f"{row['id']}.mp4"), saved.frames)
    assert saved.frames == FrameKeys(max=6, px=96)
    assert list(chosen.jpegs) == [f["bytes"] for f in row["frames"]]
    new = generation_prompt({**as_row("v", chosen), "id": row["id"]}, processor, saved.data)
    stored = generation_prompt(row, processor, saved.data)
    assert new["input_ids"] == stored["input_ids"] and new["frames"].equal(stored["frames"])


@pytest.mark.slow
def test_batched_generation_is_single_generation(run, world):
    from data.prepared.dataset import Prepared
    from train.inference.generate import answer, generation_prompt, load_run
    from train.run.saved import read_run

    saved = read_run(run)
    model, processor = load_run(saved)
    prompts = [
        generation_prompt(Prepared.open(world).rows()[i], processor, saved.data) for i in range(4)
    ]
    prompts[1]["frames"] = prompts[1]["frames"].flip(0)
    one = [answer(model, processor, [p], max_new_tokens=16)[0].text for p in prompts]
    together = answer(model, processor, prompts, max_new_tokens=16)
    assert one == [said.text for said in together] and len(set(one)) > 1


def refused(done, *words):
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


def test_bare_headline_command_names_the_next_one(tmp_path):
    done = run_command("train/sft.py", "recipe=qlora", f"data.path={tmp_path}/videos")
    refused(done, "scripts/prepare.py source=jsonl", "source=microworld", "does not exist")


@pytest.mark.slow
def test_no_network_and_no_card(world, tmp_path):
    refused(
        run_command("train/sft.py", "recipe=qlora", f"data.path={world}", HF_HOME=str(tmp_path)),
        "cannot be fetched",
        "model.name",
    )
    (tmp_path / "config.json").write_text(
        '{"model_type": "smolvlm", "text_config": {"hidden_size": 2048}}'
    )
    done = run_command(
        "train/sft.py",
        "recipe=qlora",
        f"data.path={world}",
        f"model.name={tmp_path}",
        CUDA_VISIBLE_DEVICES="",
    )
    refused(done, "no CUDA device", "model.name=tiny")


@pytest.mark.parametrize("launcher", ["python", "accelerate"])
def test_mistakes_come_first_and_once(launcher):
    arguments = ("train/sft.py", "recipe=qlora", "optim.lrr=3", "model.nme=x")
    done = run_command(*arguments) if launcher == "python" else launch("-q", *arguments)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "did you mean" in line]
    assert (
        len(said) == 2
        and "did you mean" in done.stderr.strip().splitlines()[0 if launcher == "python" else -2]
    )


@pytest.mark.slow
def test_what_only_another_process_meets_is_said_by_it():
    """Under a launcher, whose first process may have nothing to complain of."""
    quiet = run_command("train/sft.py", "recipe=lora", "optim.lrr=1", LOCAL_RANK="1")
    assert quiet.returncode == 2 and quiet.stderr.startswith("process 1: optim.lrr: no such key")


@pytest.mark.slow
@pytest.mark.slow
def test_what_a_launcher_was_told_in_vain_is_said_with_what_works(world, tmp_path):
    argv = [
        "train/sft.py",
        "recipe=lora",
        "model.name=tiny",
        f"data.path={world}",
        "data.workers=0",
        "train.steps=1",
    ]
    told = ["--num_processes", "2", "--cpu", "--mixed_precision", "bf16"]
    done = launch(*told, *argv, f"train.output={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "× 1 device" in done.stdout
    assert (
        "mixed_precision=bf16 of accelerate's configuration is not used; this run computes in fp32"
        in done.stderr
    )
    (line,) = re.findall("`(torchrun .*)`", done.stderr)
    command = shlex.split(line.replace(str(tmp_path / "one"), str(tmp_path / "two")))
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "× 2 devices" in done.stdout and "starts one process" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_may_be_cut(unbuffered):
    """`… --help | head`: a reader that goes is no mistake of ours."""
    piped = f"PYTHONUNBUFFERED={unbuffered} {sys.executable} scripts/prepare.py --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.splitlines()[-1] == "0"


def test_nothing_to_resume_yet(tmp_path):
    done = run_command("train/sft.py", "train.resume=true", f"train.output={tmp_path / 'new'}")
    assert (
        done.returncode == 2
        and "no run has begun in" in done.stderr
        and "leave train.resume=true out" in done.stderr
    )
    assert not (tmp_path / "new").exists()


def test_describe_refusals(run, tmp_path):
    good = write_video(tmp_path / "a.mp4", every(0.1, 12))
    (tmp_path / "bad.mp4").write_text("no video")
    refused(call_command("scripts/describe.py", f"adapter={run}"), "which video?")
    refused(call_command("scripts/describe.py", str(good)), "SmolVLM2-500M-Video-Instruct")
    refused(
        call_command("scripts/describe.py", str(good), f"adapter={tmp_path}/no"), "no such folder"
    )
    refused(
        call_command("scripts/describe.py", str(good), f"adapter={tmp_path}"),
        "neither an adapter nor a model",
    )
    refused(
        call_command("scripts/describe.py", str(tmp_path / "bad.mp4"), f"adapter={run}"),
        "unreadable",
    )
    refused(
        call_command("scripts/describe.py", str(tmp_path / "no.mp4"), f"adapter={run}"),
        "missing file",
    )
    long = call_command(
        "scripts/describe.py", str(good), f"adapter={run}", f"prompt={'word ' * 9000}"
    )
    last = long.stderr.splitlines()[-1]  # below the bars of loading
    assert long.returncode == 2 and "Traceback" not in long.stderr
    assert "tokens with one frame, data.max_tokens=8192" in last


def test_adapters_with_parts_missing(run, tmp_path, capsys):
    import shutil
    from dataclasses import replace

    from data.errors import UserError
    from train.run.saved import read_run

    folder = tmp_path / "a"
    shutil.copytree(run, folder)
    (folder / "frame_policy.json").unlink()
    assert read_run(folder).frames.policy == "scene"
    assert "assuming frames.policy=scene frames.max=32" in capsys.readouterr().err
    for content in (
        "{",
        "[]",
        '{"version": 99}',
        '{"version": 1, "policy": "x", "target": "timeline"}',
    ):
        (folder / "frame_policy.json").write_text(content)
        with pytest.raises(UserError) as caught:
            read_run(folder)
        assert len(str(caught.value).splitlines()) == 1
    before = json.loads((run / "frame_policy.json").read_text())
    (folder / "frame_policy.json").write_text(json.dumps({**before, "version": 2}))
    assert read_run(folder).frames == read_run(run).frames
    assert "version 2 of the frame policies, this is" in capsys.readouterr().err
    # until 2026-11 all keys stood side by side, and a frame had the base's tokens
    flat = {**before["frames"], **before["ask"], "version": before["version"]}
    (folder / "frame_policy.json").write_text(json.dumps(flat))
    assert read_run(folder).policy == replace(read_run(run).policy, tokens_a_frame=None)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match="pickled weights are not loaded"):
        read_run(folder)
    with pytest.raises(UserError, match="needs no base"):
        read_run(run / "base", base="x/y")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no manifest.json"),
        ("{", "not JSON"),
        ("[]", "another version"),
        ('{"format_version": 0}', "another version"),
        ('{"format_version": 4, "finished": false}', "not finished"),
        ('{"format_version": 4, "finished": true, "rows": 0, "shards": 0}', "empty"),
        ('{"format_version": 4, "finished": true, "rows": 3, "shards": 1}', "is missing"),
    ],
)
def test_prepared_folders_that_are_not(tmp_path, content, words, monkeypatch):
    from data.errors import UserError
    from data.prepared.dataset import Prepared
    from train.early_checks import check_data
    from train.sections import DataKeys

    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        check_data(DataKeys(path=str(tmp_path)))
        Prepared.open(tmp_path).rows()
    assert len(str(caught.value).splitlines()) == 1
