"""First contact: what this machine can do, in one line each, and an exit code."""

import pytest
import torch

from data.video.codec_check import decodable
from tests.helpers.videos import run_command
from train.machine import doctor, packages


@pytest.mark.slow
def test_this_machine_can_train():
    done = run_command("scripts/doctor.py", HF_TOKEN="hf_secret", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    for what in (
        "python",
        "packages",
        "precision",
        "4-bit layers",
        "pyav",
        "decord",
        "hub",
        "machine",
        "disk here",
        "recipes",
    ):
        assert any(line[6:].startswith(what) for line in done.stdout.splitlines()), what
    assert done.stdout.endswith("training can start\n") and "\nnext: " in done.stdout
    assert "hf_secret" not in done.stdout + done.stderr


def test_codecs_are_really_tried(tmp_path):
    found = decodable(tmp_path)
    assert found["h264"] == {"pyav": True, "decord": True}
    assert list(tmp_path.iterdir())  # clips were made


def test_a_package_that_is_too_old_is_bad(monkeypatch):
    real = packages.version
    monkeypatch.setattr(
        packages, "version", lambda name: "4.57.6" if name == "transformers" else real(name)
    )
    found = {f.what: f for f in packages.packages()}
    assert (
        found["packages"].verdict == "BAD"
        and "transformers 4.57.6 does not satisfy" in found["packages"].text
    )


@pytest.mark.slow
def test_a_package_that_is_missing_is_a_finding(tmp_path):
    """Here trl can be neither found nor imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m, sys\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'trl':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "sys.modules['trl'] = None\n"
    )
    done = run_command("scripts/doctor.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "BAD   packages" in done.stdout and "is missing: pip install -e ." in done.stdout
    assert done.stderr == "training cannot start: 1 to mend\n"


def test_without_4_bit_layers_other_recipes_train(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr("bitsandbytes.nn.Linear4bit", broken)
    found = doctor.four_bits()
    assert found.verdict == "note" and "no kernel image" in found.text


@pytest.mark.gpu
def test_recipes_are_planned_for_this_gpu():
    assert torch.cuda.is_available()
    assert {f.what for f in doctor.fitting()} >= {"recipe=qlora", "recipe=lora"}
