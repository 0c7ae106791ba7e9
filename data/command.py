"""What every command shares: `--help`, reading its keys, and a one-line message for a user's mistake."""

from __future__ import annotations

import atexit
import errno
import gc
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import Field

from data.config import ConfigT, Section, load
from data.errors import UserError, check_writable
from data.usage import completions, usage

Figures = dict[str, Any]
FIRST_SPEAKS_S = 5.0
"""How long the other processes wait before they print an error. Where all processes met the same one, the
first prints it, and the launcher ends the others within this time."""


def command(
    model: type[ConfigT],
    main: Callable[[ConfigT], object],
    doc: str | None,
    files: str | None = None,
) -> NoReturn:
    """Run a command: print `--help`, or read the keys and call `main`. A user's mistake is printed as one
    line and gives exit code 2.

    Under a launcher, the first process of a machine prints an error that all processes met: when it
    exits, the launcher ends the others. An error that only one process met is printed by that process.
    """
    _limit_spinning()
    _look_for_cycles_less_often()
    argv = sys.argv[1:]
    try:
        if any(a in ("-h", "--help", "help") for a in argv):
            if argv[-1:] == ["keys"]:  # scripts/completion.bash asks
                print(completions(model))
            else:
                print(usage(model, doc or "", everything="all" in argv))
        else:
            main(load(model, argv, files))
        sys.stdout.flush()
        sys.exit(0)
    except UserError as error:
        if (rank := os.environ.get("LOCAL_RANK", "0")) == "0":
            print(error, file=sys.stderr)
        else:
            time.sleep(FIRST_SPEAKS_S)
            print(f"process {rank}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(0)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise  # a bug of ours, not the machine's state: show the traceback
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"{error.strerror}{where}: fix this, then run the same command again to continue",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command continues where it can", file=sys.stderr)
        sys.exit(130)


class BenchConfig(Section):
    """Keys of every benchmark."""

    json_: str | None = Field(default=None, alias="json", description="write the figures here")


BenchT = TypeVar("BenchT", bound=BenchConfig)


def bench(model: type[BenchT], measure: Callable[[BenchT], Figures], doc: str | None) -> NoReturn:
    """Run a benchmark: `measure` prints its progress and returns a flat dict of figures, which is written
    to `json=`."""

    def main(config: BenchT) -> None:
        check_writable("json", config.json_)
        figures = measure(config)
        if config.json_ is not None:
            text = json.dumps(figures, indent=1)
            Path(config.json_).write_text(text + "\n", encoding="utf-8")

    command(model, main, doc)


def _limit_spinning() -> None:
    """Make threads that wait for each other spin a few microseconds, then sleep.

    By default, libgomp's threads keep spinning. Where other work occupies a core, they spin for a thread
    that has no core, and a step takes eight times as long. Sleeping at once (`OMP_WAIT_POLICY=PASSIVE`)
    would cost a quarter on an idle machine. The variable is read when torch is loaded.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def _look_for_cycles_less_often() -> None:
    """Look through all objects for unreachable cycles a tenth as often, and not once more at the end.

    Importing torch and what goes with it makes millions of objects that stay. Looking through them takes a fifth of a
    command's start, and more than a second of its end. New objects are looked through as often as before.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 100)
    atexit.register(gc.freeze)


def _nobody_reads() -> bool:
    """Whether the reader of stdout has gone, as in `… | head`. If so, stdout is redirected to /dev/null."""
    fd = sys.stdout.fileno()
    pipe = select.poll()
    pipe.register(fd, 0)
    if any(event & select.POLLERR for _, event in pipe.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        return True
    return False
