"""One writer at a time: an advisory lock that dies with its process, and a note that names the holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import LockHeldError

WAIT_SECONDS = 60.0


@contextmanager
def writer_lock(path: Path, flow: str, *, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold `path` for the duration; waits up to `wait` seconds.

    The kernel releases the lock of a killed process, so a lock is never stale; the pid, host and flow
    inside are for people. Raises LockHeldError naming the holder.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, path, wait)
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "flow": flow})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the lock, in words; None when it is free."""
    if not path.exists():
        return None
    descriptor = _opened(path)
    try:
        if try_lock(descriptor):
            return None
        return _describe(path)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The lock file open: for writing where that can be, as a network file system wants it of an exclusive lock."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # a read-only disk, or somebody else's file
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive advisory lock of an open file without waiting; False when another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(descriptor: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            raise LockHeldError(
                f"{path.name} is held by {_describe(path)}",
                expected=f"it to be free within {wait:.0f} s",
                next="wait for that process or stop it",
            )
        time.sleep(0.02)


def _describe(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        return f"pid {note['pid']} on {note['host']} ({note['flow']})"
    except (ValueError, KeyError, OSError):
        return "another process"
