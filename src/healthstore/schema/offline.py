"""What a kind of store would run for a change, without a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, cast

from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.errors import ConfigurationError
from healthstore.model.ops import Alter, Drop, Ensure, Explained, Rename

__all__ = ("KINDS", "Explains", "asking", "explaining")

# Of stores that are never opened, so nobody has to be there.
_URLS = {
    "mariadb": "mariadb://host/database",
    "mongodb": "mongodb://host/database",
    "mysql": "mysql://host/database",
    "postgresql": "postgresql://host/database",
    "sqlite": "sqlite:///explained.db",
}
KINDS = tuple(_URLS)
"""The kinds of backends that run something for a change."""

Explains: TypeAlias = Callable[[Ensure | Alter | Rename | Drop], Explained]


class _Explaining(Protocol):
    explain: Explains


def asking(kind: str) -> Callable[[Ensure | Alter | Rename | Drop], Awaitable[Explained]]:
    """Return the same as if a store were asked."""
    explain = explaining(kind)

    async def ask(change: Ensure | Alter | Rename | Drop) -> Explained:
        return explain(change)

    return ask


def explaining(kind: str) -> Explains:
    """Return what explains a change as a kind of backend would make it.

    Raises ConfigurationError for a kind that is unknown, and MissingDriverError if its driver is
    not installed.
    """
    if kind not in KINDS:
        raise ConfigurationError(
            f"no kind of backend is called {kind!r}", hint=f"use one of {', '.join(KINDS)}"
        )
    return cast(_Explaining, connect(BackendURL.parse(_URLS[kind]), kind)).explain
