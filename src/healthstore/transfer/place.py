"""Where a file is, as callers say it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from healthstore.errors import InvalidRequestError

__all__ = ("file_path", "require_file")


def file_path(path: str | os.PathLike[str]) -> Path:
    """Return a path; raise InvalidRequestError for what is none."""
    try:
        found = Path(path)
    except TypeError:
        found = None
    if found is None or "\0" in str(found):
        raise InvalidRequestError("the path of the file is no path", hint="pass a text or a Path")
    return found


def require_file(path: Path) -> None:
    """Raise InvalidRequestError for a pipe or a device: it is read more than once, and may wait.

    Raises OSError if nothing is there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InvalidRequestError(
            f"{path.name!r} is a pipe or a device, which cannot be read twice",
            hint="put what it holds into a file first, and name that",
        )
