"""Start train/sft.py where accelerate would only run unsharded: told that these CPUs are GPUs, it shards on them."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

real = PartialState.__init__


def initialise(self, *arguments, **named):
    real(self, *arguments, **named)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self._shared_state["distributed_type"] = DistributedType.MULTI_GPU


PartialState.__init__ = initialise

import train.loop.fit
from data.config import load
from train import sft
from train.config import TrainConfig

fit = train.loop.fit.fit


def fit_and_tell(trainer, *, resume):
    results = fit(trainer, resume=resume)
    sharded = {type(p.data).__name__ for p in trainer.model.parameters() if p.requires_grad}
    print(f"trained as {type(trainer.model_wrapped).__name__} in {sharded}", flush=True)
    whole = sum(p.numel() for p in trainer.model.parameters() if not isinstance(p.data, DTensor))
    print(f"whole on each device: {whole} numbers", flush=True)
    return results


train.loop.fit.fit = fit_and_tell
sft.main(load(TrainConfig, sys.argv[1:]))
