"""Who this process is, for others that look at a store: whether it still runs is known on its machine only."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Process", "this_process")


@dataclass(frozen=True, slots=True)
class Process:
    """A process; ``space`` is the one of its number, since containers of a machine have their own."""

    host: str
    space: str
    number: int

    def has_ended(self) -> bool:
        """Tell whether it has ended; False where that cannot be known."""
        here = this_process()
        return (self.host, self.space) == (here.host, here.space) and not _runs(self.number)


def this_process() -> Process:
    """Return the process that calls this."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())  # Linux: man 7 pid_namespaces
    except OSError:
        space = ""
    return Process(socket.gethostname(), space, os.getpid())


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
