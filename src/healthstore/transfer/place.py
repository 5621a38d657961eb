"""Where a file is, as callers say it."""

from __future__ import annotations

import os
from pathlib import Path

from healthstore.errors import InvalidRequestError

__all__ = ("file_path",)


def file_path(path: str | os.PathLike[str]) -> Path:
    """Return a path; raise InvalidRequestError for what is none."""
    try:
        found = Path(path)
    except TypeError:
        found = None
    if found is None or "\0" in str(found):
        raise InvalidRequestError("the path of the file is no path", hint="pass a text or a Path")
    return found
