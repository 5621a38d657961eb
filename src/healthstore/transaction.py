"""A transaction: a unit of work with repositories."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TypeVar

from healthstore.abc.backend import Backend, Unit, UnitOptions
from healthstore.entity import Entity
from healthstore.errors import ConfigurationError
from healthstore.repository import Repository

__all__ = ("MockFill", "Transaction", "filled", "transaction")

M = TypeVar("M", bound=Entity)


class Transaction:
    """A unit of work with repositories: everything in it is kept together, or nothing is."""

    def __init__(self, unit: Unit, cursor_key: bytes | None = None, source: object = None) -> None:
        self._unit = unit
        self._cursor_key = cursor_key
        self._source = source

    def repository(self, entity: type[M]) -> Repository[M]:
        """Return the entity's repository inside this transaction."""
        # After an error the unit only rolls back, so nothing can be attempted twice.
        return Repository(
            entity, self._unit, attempts=1, cursor_key=self._cursor_key, source=self._source
        )


MockFill = Callable[[Transaction], Awaitable[None]]
"""Fills the mock with data, inside a transaction on it."""


@asynccontextmanager
async def transaction(
    backend: Backend, options: UnitOptions, cursor_key: bytes | None = None
) -> AsyncGenerator[Transaction, None]:
    """Run a block as one unit on a backend: commit at its end, roll back if it raises.

    ``cursor_key`` signs the positions of pages.
    """
    unit = await backend.begin(options)
    try:
        yield Transaction(unit, cursor_key, backend)
        await unit.commit()
    finally:
        await unit.rollback()


async def filled(backend: Backend, fill: MockFill) -> None:
    """Let a function fill a backend, in one transaction.

    Raises ConfigurationError if it is not asynchronous.
    """
    async with transaction(backend, UnitOptions()) as unit:
        filling = fill(unit)
        if not isawaitable(filling):
            raise ConfigurationError(
                "mock_fill is not asynchronous", hint="write async def mock_fill(tx): …"
            )
        await filling
