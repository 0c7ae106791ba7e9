"""How every command begins and ends: its help, its keys, a user's mistake as one line."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import Field

from data.config import ConfigT, Section, check_writable, load
from data.errors import UserError
from data.usage import usage

Figures = dict[str, Any]
FIRST_SPEAKS_S = 5.0
"""In which the first process of a machine ends all others, where all met the same."""


def command(
    model: type[ConfigT],
    main: Callable[[ConfigT], object],
    doc: str | None,
    files: str | None = None,
) -> NoReturn:
    """Run a command: `--help`, the keys, and a user's mistake as one line and exit code 2.

    Under a launcher the first process of a machine speaks for all: the launcher ends the others when
    it ends. What only one of them met, that one says itself.
    """
    _wait_asleep()
    argv = sys.argv[1:]
    try:
        if any(a in ("-h", "--help", "help") for a in argv):
            print(usage(model, doc or ""))
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
            raise  # not the machine's state but our mistake: show where
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
    """What every bench takes."""

    json_: str | None = Field(default=None, alias="json", description="write the figures here")


BenchT = TypeVar("BenchT", bound=BenchConfig)


def bench(model: type[BenchT], measure: Callable[[BenchT], Figures], doc: str | None) -> NoReturn:
    """Run a bench: `measure` prints as it goes, and gives flat figures, which go into `json=`."""

    def main(config: BenchT) -> None:
        check_writable("json", config.json_)
        figures = measure(config)
        if config.json_ is not None:
            text = json.dumps(figures, indent=1)
            Path(config.json_).write_text(text + "\n", encoding="utf-8")

    command(model, main, doc)


def _wait_asleep() -> None:
    """Threads of one computation spin for each other a few microseconds, then sleep. As libgomp comes they
    spin on, and where other work keeps a core, for one that has none: a step takes eight times as long.
    Sleeping at once (`OMP_WAIT_POLICY=PASSIVE`) would cost a quarter where nothing else works. It is read
    when torch is loaded."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def _nobody_reads() -> bool:
    """Whether the reader of our output has gone, as `… | head` does; then nothing more is written to it."""
    fd = sys.stdout.fileno()
    pipe = select.poll()
    pipe.register(fd, 0)
    if any(event & select.POLLERR for _, event in pipe.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        return True
    return False
