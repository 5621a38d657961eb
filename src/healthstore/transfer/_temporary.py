"""Temporary files of backups: locked while they are written, so that those of the dead are known."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ("make", "remove_abandoned")

_NAME = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


def make(path: Path) -> int:
    """Create a file, readable by its owner only; return its descriptor, which holds the lock."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # somebody took it for abandoned before it was locked
        with suppress(FileNotFoundError):
            path.unlink()


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of backups that no living process writes any more.

    They hold documents. What cannot be looked at stays, and on Windows everything does.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed, also by the end of the process; False if another has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks: then nothing is ever taken for abandoned
        return True
    return True
