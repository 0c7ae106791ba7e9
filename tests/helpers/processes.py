"""Training in several processes, as a launcher starts them."""

import os
import subprocess
import sys

from data.config import load
from tests.helpers.videos import ROOT
from train import sft
from train.config import TrainConfig


def keys(world, out, processes, steps, batch):
    return [
        "model.name=tiny",
        f"data.path={world}",
        f"train.output={out}",
        f"train.steps={steps}",
        "data.eval_share=0.2",
        "data.workers=0",
        "train.log_every=1",
        "optim.lr=1e-3",
        "lora.dropout=0",
        f"train.batch={batch}",
        f"train.accumulate={4 // processes // batch}",
    ]


def _all_keys(world, out, processes, steps, batch, more):
    named = {one.split("=")[0] for one in more}
    own = [k for k in keys(world, out, processes, steps, batch) if k.split("=")[0] not in named]
    return [*own, *more]


def alone(world, out, *more, steps=4, batch=1):
    """Train with the same keys in this process, to compare with."""
    sft.main(load(TrainConfig, _all_keys(world, out, 1, steps, batch, more)))


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
        [*argv, script, *_all_keys(world, out, processes, steps, batch, more)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, **named):
    process = start(*arguments, **named)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert "destroy_process_group" not in errors  # torch's complaint of one that was left open
    return said
