"""Commands in forks of one process that has the heavy imports behind it: a request a line, as JSON, in; what
became of it out. Started with `crash.so` loaded before libc, a fork can be killed at any of its writes. Several forks
of one command are the ranks of a group, as a launcher starts them."""

import contextlib
import ctypes
import json
import os
import runpy
import socket
import sys
from multiprocessing.connection import wait
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


def run_script(request):
    """A script as a launcher starts it: with its own arguments and environment."""
    os.environ |= request["environment"]
    sys.argv = [request["script"], *request["argv"]]
    try:
        runpy.run_path(request["script"], run_name="__main__")
    except SystemExit as end:
        return {"code": int(end.code or 0)}
    return {"code": 0}


def ranks_of(request):
    """A request for each rank, with what torch's launcher tells it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    count = str(request["ranks"])
    group = {
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    for rank in map(str, range(request["ranks"])):
        of_rank = {"RANK": rank, "LOCAL_RANK": rank}
        yield {**request, "environment": {**request["environment"], **group, **of_rank}}


def fork(request):
    """Begin a request in a fork: where its answer is to be read, and its number."""
    ends = os.pipe()
    child = os.fork()
    if child:
        os.close(ends[1])
        return os.fdopen(ends[0]), child
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        told = run_script(request) if "script" in request else run(request)
        os.write(ends[1], json.dumps(told).encode())
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def outcome(child, pipe):
    """What a fork told, or whether it was killed."""
    with pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9
    return json.loads(told) if told else {"killed": killed}


def main():
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        Path(request["log"]).write_text("")
        forks = dict(fork(one) for one in (ranks_of(request) if "ranks" in request else [request]))
        told = []
        while forks:
            for pipe in wait(list(forks)):
                told.append(outcome(forks.pop(pipe), pipe))
            if any(one.get("code") != 0 for one in told):  # the others would wait for it
                for child in forks.values():
                    os.kill(child, 9)
        with contextlib.suppress(BrokenPipeError):
            first_wrong = min(told, key=lambda one: one.get("code") == 0)
            print(json.dumps(first_wrong), file=answers, flush=True)


if __name__ == "__main__":
    main()
