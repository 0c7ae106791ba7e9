"""Training in several processes, as a launcher starts them."""

import os
import subprocess
import sys

from data.config import load
from tests.helpers import runs
from tests.helpers.videos import ROOT
from train import sft
from train.config import TrainConfig


def keys(world, out, processes, steps, batch, *more):
    """Of a run in which each step sees four videos, however many processes there are."""
    steps = [f"train.steps={steps}", f"train.batch={batch}"]
    return runs.keys(world, out, *steps, f"train.accumulate={4 // processes // batch}", *more)


def alone(world, out, *more, steps=4, batch=1):
    """Train with the same keys in this process, to compare with."""
    sft.main(load(TrainConfig, keys(world, out, 1, steps, batch, *more)))


def start(processes, world, out, *more, steps=4, batch=1, script="train/sft.py", **environment):
    """As `accelerate launch` starts processes on several GPUs."""
    argv = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    return subprocess.Popen(
        [*argv, script, *keys(world, out, processes, steps, batch, *more)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def launched(*arguments, **named):
    process = start(*arguments, **named)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert "destroy_process_group" not in errors  # torch's complaint of one that was left open
    return said


def forked(
    server, processes, world, out, *more, steps=4, batch=1, script="train/sft.py", **environment
):
    """The same without a launcher and the seconds that its processes import for."""
    argv = keys(world, out, processes, steps, batch, *more)
    return server.ranks(processes, script, argv, **environment)
