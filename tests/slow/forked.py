"""Commands in forks of one process that has the heavy imports behind it: a request a line, as JSON, in; what
became of it out. Started with `crash.so` loaded before libc, a fork can be killed at any of its writes."""

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import accelerate  # noqa: F401
import torch

import train.loop.fit  # noqa: F401
from data.config import load
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.sources.files import videos_of
from train import sft
from train.config import TrainConfig
from train.inference.config import DescribeConfig
from train.inference.folder.describe import describe_folder
from train.run.saved import read_run

torch.set_num_threads(1)


def run(request):
    shim = ctypes.CDLL(None)
    if "below" in request:
        shim.crash_seen.restype = ctypes.c_long
        names = request["log"] + ".writes"
        shim.crash_arm(ctypes.c_long(request["kill_at"]), request["below"].encode(), names.encode())
    code, said = 0, ""
    try:
        if request["command"] == "prepare":
            prepare(load(PrepareConfig, request["argv"]))
        elif request["command"] == "describe":
            config = load(DescribeConfig, request["argv"], "videos")
            if request.get("kill_after_batch"):
                die_after_a_batch()
            describe_folder(config, read_run(config.adapter), videos_of(config.videos))
        else:
            config = load(TrainConfig, request["argv"])
            if (step := request.get("kill_after_step")) is not None:
                die_after(step)
            sft.main(config)
    except UserError as error:
        code, said = 2, str(error)
    seen = shim.crash_seen() if "below" in request else 0
    return {"code": code, "said": said, "writes": seen}


def die_after(step):
    """Killed when so many steps are done and saved as they should be, before the next."""
    from train.loop.trainer import VideoTrainer

    begin = VideoTrainer.training_step

    def training_step(self, *arguments, **named):
        if self.state.global_step >= step:
            os.kill(os.getpid(), 9)
        return begin(self, *arguments, **named)

    VideoTrainer.training_step = training_step


def die_after_a_batch():
    """Killed when the answers of one batch are stored."""
    from train.inference.folder import describe

    store = describe.append

    def append(*arguments):
        store(*arguments)
        os.kill(os.getpid(), 9)

    describe.append = append


def main():
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        ends = os.pipe()
        child = os.fork()
        if child == 0:
            with open(request["log"], "w") as log:  # noqa: PTH123
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            code = 1
            try:
                told = run(request)
                os.write(ends[1], json.dumps(told).encode())
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(ends[1])
        with os.fdopen(ends[0]) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9
        with contextlib.suppress(BrokenPipeError):
            print(told or json.dumps({"killed": killed}), file=answers, flush=True)


if __name__ == "__main__":
    main()
