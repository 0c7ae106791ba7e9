"""First contact: what this machine can do, in one line each, and an exit code."""

import pytest
import torch

from data.decodable import decodable
from tests.videos import run_command
from train import doctor


def test_this_machine_can_train():
    done = run_command("scripts/doctor.py", HF_TOKEN="hf_secret", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("python", "packages", "precision", "4-bit layers", "pyav", "decord", "hub", "machine", "disk here", "recipes"):  # fmt: skip
        assert any(line[6:].startswith(what) for line in done.stdout.splitlines()), what
    assert done.stdout.endswith("training can start\n")
    assert "hf_secret" not in done.stdout + done.stderr


def test_codecs_are_really_tried(tmp_path):
    found = decodable(tmp_path)
    assert found["h264"] == {"pyav": True, "decord": True}
    assert list(tmp_path.iterdir())  # clips were made


def test_a_package_that_is_too_old_is_bad(monkeypatch):
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "4.57.6" if name == "transformers" else real(name))  # fmt: skip
    found = {f.what: f for f in doctor.packages()}
    assert found["packages"].verdict == "BAD" and "transformers 4.57.6 does not satisfy" in found["packages"].text  # fmt: skip


@pytest.mark.gpu
def test_recipes_are_planned_for_this_gpu():
    assert torch.cuda.is_available()
    assert {f.what for f in doctor.fitting()} >= {"recipe=qlora", "recipe=lora"}
