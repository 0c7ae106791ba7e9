"""DeepSpeed with two processes on the CPU: started by accelerate with our files, it trains as one process does.

Where DeepSpeed is installed accelerate imports it everywhere, so that it is no part of `.[dev]`:
pip install -e '.[deepspeed]', then this file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.processes import alone, keys
from tests.helpers.runs import losses
from tests.helpers.videos import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed compiles its talk between CPUs")
@pytest.mark.parametrize(("stage", "method"), [(2, "lora"), (3, "full")])
def test_deepspeed_trains_alike(world, tmp_path, stage, method):
    pytest.importorskip("deepspeed")
    alone(world, tmp_path / "one", f"train.method={method}")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"recipes/accelerate/zero{stage}.yaml",
         "train/sft.py", *keys(world, tmp_path / "two", 2, 4), f"train.method={method}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == [1, 2, 3, 4]
    assert list(one.values()) == pytest.approx(list(two.values()), rel=1e-4)
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    a, b = (load_file(tmp_path / n / name) for n in ("one", "two"))
    assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=2e-3) for k in a)
