"""Whose folder it is: one process at a time writes, and others are told which."""

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
"""Who holds the lock, in words."""
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""Answers of file systems that know none, as some that are mounted over a network."""


@contextmanager
def locked(place: Path, shown: str) -> Iterator[None]:
    """One process at a time writes to a folder, by a lock the kernel lets go when the process dies.

    Raises:
        UserError: another has it; the line says which.
    """
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{shown}: another run is writing there ({_told(place)}); let it end, or choose another folder"
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        warn(f"note: {shown}: this file system keeps no locks; start one run at a time there")
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
    """Which process is writing to a folder now; None where there is none."""
    if not (place / LOCK).is_file():
        return None
    try:
        with FileLock(place / LOCK, timeout=0):
            return None
    except Timeout:
        return _told(place)
    except (
        NotImplementedError,
        OSError,
    ):  # no right to write there, or no locks: nobody can have it
        return None


def _told(place: Path) -> str:
    try:
        return (place / OWNER).read_text(encoding="utf-8")
    except OSError:  # it has the lock and did not come to say so yet
        return "just started"
