"""Parts of a unit of work: what fails inside of one is undone, and the unit lives."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Protocol

from healthstore.abc.backend import Capabilities
from healthstore.errors import (
    CapabilityError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    StaleVersionError,
)

__all__ = ("Parted", "Parts", "ends_unit", "require_parts")


class Parted(Protocol):
    """An adapter with the optional method ``part``.

    It runs a block within a session's transaction; if it raises, only the block is undone.
    """

    def part(self, session: object) -> AbstractAsyncContextManager[None]:
        """Run the block."""
        ...


class _Part:
    """One block; to be told from others."""


# The parts in which the running code is, also in the tasks that it starts.
_WITHIN: ContextVar[tuple[_Part, ...]] = ContextVar("healthstore_parts_of_units", default=())


class Parts:
    """The open parts of one unit, the innermost last."""

    def __init__(self) -> None:
        self._open: list[_Part] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def elsewhere(self) -> bool:
        """Whether the innermost part is not of the running code, nor of who started it."""
        return bool(self._open) and self._open[-1] not in _WITHIN.get()

    @asynccontextmanager
    async def entered(self) -> AsyncGenerator[None, None]:
        """Have a part open during a block; raise LifecycleError if one inside stays open."""
        part, around = _Part(), _WITHIN.get()
        self._open.append(part)
        _WITHIN.set((*around, part))
        try:
            yield
            if not self._open or self._open[-1] is not part:
                raise LifecycleError(
                    "a part inside of this one is still open", hint="end inner parts first"
                )
        finally:
            if part in self._open:  # else it went with the one around it
                del self._open[self._open.index(part) :]
            _WITHIN.set(around)


def require_parts(capabilities: Capabilities, name: str) -> None:
    """Raise CapabilityError where a part of a unit cannot be undone by itself."""
    if not capabilities.parts:
        raise CapabilityError(
            "this backend has no `parts` of units",
            hint="check before you write, or use a unit for each part; "
            "PostgreSQL, MySQL, MariaDB, SQLite and memory have them",
            backend=name,
        )


def ends_unit(error: HealthstoreError) -> bool:
    """Tell whether an error ends the whole unit, not only the part in which it came up.

    So does one after which the transaction may be gone, or what it has read has changed: some
    databases go on after it, others do not.
    """
    if isinstance(error, StaleVersionError):
        return False
    return error.transient or error.outcome is Outcome.UNKNOWN
