"""Locks on folders: one process at a time writes, and others are told which one it is."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data.errors import UserError, warn

LOCK = ".lock"
OWNER = ".owner"
"""File whose text names the process that holds the lock."""
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""Error codes of file systems without locks, such as some network mounts."""
LET_GO_S = 2.0
"""How long a held lock is waited for: a process killed while it starts another leaves that one for a moment
with its open files, and so with its lock."""


@contextmanager
def locked(place: Path, shown: str) -> Iterator[None]:
    """Hold the lock of a folder, so that one process at a time writes to it. The kernel releases the lock
    when the process dies.

    Raises:
        UserError: another process holds it for `LET_GO_S` and longer; the message says which.
    """
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / LOCK, timeout=LET_GO_S)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{shown}: another run is writing there ({_owner_text(place)}); let it end, or choose another folder"
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        warn(f"note: {shown}: this file system has no locks; start only one run at a time there")
        yield
        return
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        owner = f"process {os.getpid()} on {socket.gethostname()}, {Path(sys.argv[0]).name}, since {since}"
        (place / OWNER).write_text(owner, encoding="utf-8")
        yield
    finally:
        (place / OWNER).unlink(missing_ok=True)
        lock.release()


def owner_of(place: Path) -> str | None:
    """A text that names the process now writing to a folder; None if there is none."""
    if not (place / LOCK).is_file():
        return None
    try:
        with FileLock(place / LOCK, timeout=0):
            return None
    except Timeout:
        return _owner_text(place)
    except (
        NotImplementedError,
        OSError,
    ):  # no right to write there, or no locks: no process can hold it
        return None


def _owner_text(place: Path) -> str:
    try:
        return (place / OWNER).read_text(encoding="utf-8")
    except OSError:  # the process holds the lock but has not written its name yet
        return "just started"
