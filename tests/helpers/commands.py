"""A server of commands in forks (`tests/slow/forked.py`), each of which may be killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.videos import ROOT


class Commands:
    def __init__(self, place: Path, shim: Path | None = None):
        place.mkdir(parents=True, exist_ok=True)
        self._log = place / "log"
        extra = {"LD_PRELOAD": str(shim)} if shim else {}
        self._server = subprocess.Popen(
            [sys.executable, "tests/slow/forked.py"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **extra, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                 "HF_DATASETS_CACHE": str(place / "cache")},
        )  # fmt: skip

    def run(self, command, argv, **how):
        """What became of it: `killed`, or its exit `code` and what it `said` when it refused."""
        told = self._ask(command=command, argv=argv, **how)
        assert told.get("killed", True) and told.get("code") in (None, 0, 2), self._log.read_text()[
            -3000:
        ]
        return told

    def ranks(self, count, script, argv, **environment):
        """What so many processes of a script print, as torch's launcher would start them; each must end well."""
        told = self._ask(script=script, argv=argv, ranks=count, environment=environment)
        assert told == {"code": 0}, self.said[-3000:]
        return self.said

    def _ask(self, *, argv, **request):
        asked = {"argv": list(map(str, argv)), "log": str(self._log), **request}
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    @property
    def writes(self):
        """Kind and file of each write, fsync, rename and removal of the last command that was counted."""
        lines = Path(f"{self._log}.writes").read_text().splitlines()
        return [tuple(line.split(" ", 1)) for line in lines]

    @property
    def said(self):
        return self._log.read_text()

    def close(self):
        self._server.stdin.close()
        self._server.wait(timeout=60)


def built_shim(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no Linux: what kills at each write is written in C")
    out = folder / "crash.so"
    source = ROOT / "tests/slow/crash.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", out, source, "-ldl"], check=True)
    return out
