"""Tab completes keys and values, as a shell would ask."""

import shutil
import subprocess

import pytest

from tests.helpers.videos import ROOT

ASK = """source scripts/completion.bash
COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
_scenescribe
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("python scripts/prepare.py frames.po", {"frames.policy="}),
        (
            ".venv/bin/accelerate launch train/sft.py recipe=lora train.method=",
            {"full", "lora", "qlora"},
        ),
        ("python train/sft.py recipe=q", {"qlora"}),
        ("python scripts/describe.py clip.mp4 format=re", {"request"}),
        ("python scripts/describe.py data/", set()),  # a file: the shell's own completion
        ("python elsewhere.py optim", set()),
    ],
)
def test_tab_completes(typed, offered):
    done = subprocess.run(
        ["bash", "-c", ASK, "ask", typed], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered, done.stderr
