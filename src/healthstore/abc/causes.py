"""What lies under an error of a driver, where its own code says too little."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator

__all__ = ("causes", "refused", "untrusted")

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
    """Tell whether TLS failed because the server's certificate could not be verified."""
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in causes(error))
