"""What lies under an error of a driver, where its own code says too little."""

from __future__ import annotations

import errno
import re
import ssl
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from traceback import FrameSummary, extract_tb

__all__ = ("causes", "is_defect", "is_ours", "place_of", "refused", "untrusted")

# How asyncio reports that every address of a name failed, each in its own way: only as text.
_SEVERAL = "Multiple exceptions: "
_NUMBER = re.compile(r"\[Errno (-?\d+)\]")
_NOBODY_LISTENS = frozenset({errno.ECONNREFUSED, errno.ENOENT})  # ENOENT: a socket in a directory


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then what it was raised from and the members of groups, nearest first.

    ``__context__`` is left out on purpose: it may be an error of another member that the caller
    is handling right now, and no driver puts its own cause there.
    """
    left, seen = [error], set[int]()
    while left:
        each = left.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            left.extend(each.exceptions)
        if each.__cause__ is not None:
            left.append(each.__cause__)


def refused(error: BaseException) -> bool:
    """Tell whether nobody listens at any address of the server: a clean no."""
    return any(isinstance(each, OSError) and _is_refusal(each) for each in causes(error))


def _is_refusal(error: OSError) -> bool:
    if error.errno is not None:
        return error.errno in _NOBODY_LISTENS
    text = str(error)
    numbers = {int(each) for each in _NUMBER.findall(text)} if text.startswith(_SEVERAL) else set()
    return bool(numbers) and numbers <= _NOBODY_LISTENS


def untrusted(error: BaseException) -> bool:
    """Tell whether TLS failed, other than by a connection that was lost.

    The server's certificate could not be verified, it speaks no TLS, or none of the wanted version.
    """
    return any(
        isinstance(each, ssl.SSLError) and not isinstance(each, _LOST_IN_TLS)
        for each in causes(error)
    )


_LOST_IN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def place_of(error: BaseException) -> str:
    """Return where an error came up, without its message, which may quote values."""
    frames = extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {last.name} ({Path(last.filename).name}:{last.lineno})"


def is_defect(error: BaseException) -> bool:
    """Tell whether an error is a mistake in this package: one of ours, of a kind that is always one."""
    return isinstance(error, _MISTAKES) and is_ours(error)


def is_ours(error: BaseException) -> bool:
    """Tell whether an error came up in this package, not in a driver.

    The last call before it, leaving out what Python itself brings, is one of this package.
    """
    frames = [each for each in extract_tb(error.__traceback__) if not _is_pythons(each)]
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)


_MISTAKES = (
    *(AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError),
)
_PACKAGE = Path(__file__).parents[1]
_PYTHON = Path(sysconfig.get_path("stdlib"))
_INSTALLED = tuple(Path(sysconfig.get_path(each)) for each in ("purelib", "platlib"))


def _is_pythons(frame: FrameSummary) -> bool:
    place = Path(frame.filename)
    return place.is_relative_to(_PYTHON) and not any(map(place.is_relative_to, _INSTALLED))
