"""A transaction: a unit of work with repositories."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from inspect import isawaitable
from typing import TypeAlias, TypeVar

from healthstore.abc.backend import Backend, Unit, UnitOptions
from healthstore.entity import Entity
from healthstore.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    Outcome,
    StaleVersionError,
)
from healthstore.repository import REMEMBERED, Repository

__all__ = ("MockFill", "Transaction", "Work", "filled", "run", "transaction")

M = TypeVar("M", bound=Entity)
R = TypeVar("R")

_PAUSE = 0.01  # seconds before the second attempt at most; twice as long before each later one
_LONGEST_PAUSE = 1.0


class Transaction:
    """A unit of work with repositories: everything in it is kept together, or nothing is."""

    def __init__(
        self,
        unit: Unit,
        cursor_key: bytes | None = None,
        source: object = None,
        remembered: timedelta = REMEMBERED,
    ) -> None:
        self._unit = unit
        self._cursor_key = cursor_key
        self._source = source
        self._remembered = remembered

    def repository(self, entity: type[M]) -> Repository[M]:
        """Return the entity's repository inside this transaction."""
        # After an error the unit only rolls back, so nothing can be attempted twice.
        return Repository(
            entity,
            self._unit,
            attempts=1,
            cursor_key=self._cursor_key,
            source=self._source,
            remembered=self._remembered,
        )

    def part(self) -> AbstractAsyncContextManager[None]:
        """Run a block as a part (a savepoint): if it raises, what it did is undone, nothing else.

        Catch the error outside of the block, and the unit goes on. Parts may be inside each
        other. A ConflictError that is no StaleVersionError, a deadline, a lost connection and a
        cancellation end the whole unit all the same. Raises CapabilityError on MongoDB.
        """
        return self._unit.part()


Work: TypeAlias = Callable[[Transaction], Awaitable[R]]
"""What is done in a unit; it is called again when the unit gave way."""

MockFill = Callable[[Transaction], Awaitable[None]]
"""Fills the mock with data, inside a transaction on it."""


@asynccontextmanager
async def transaction(
    backend: Backend,
    options: UnitOptions,
    cursor_key: bytes | None = None,
    remembered: timedelta = REMEMBERED,
) -> AsyncGenerator[Transaction, None]:
    """Run a block as one unit on a backend: commit at its end, roll back if it raises.

    ``cursor_key`` signs the positions of pages, and requests are ``remembered`` for so long.
    """
    unit = await backend.begin(options)
    try:
        yield Transaction(unit, cursor_key, backend, remembered)
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


async def run(  # noqa: PLR0913 - each has a name where it is called
    backend: Backend,
    work: Work[R],
    options: UnitOptions,
    *,
    attempts: int,
    cursor_key: bytes | None = None,
    remembered: timedelta = REMEMBERED,
) -> R:
    """Do work in a unit, the whole again in another one when it gave way; return what it returned.

    It gave way when it raised a ConflictError that is no StaleVersionError, and nothing was kept.
    There are at most ``attempts``, with pauses of random length, and all of them together have
    the unit's deadline.
    """
    if type(attempts) is not int or attempts < 1:
        raise InvalidRequestError("attempts must be 1 or more", hint="db.run(work, attempts=8)")
    now = asyncio.get_running_loop().time
    begun, attempt, left = now(), 1, options
    while True:
        try:
            async with transaction(backend, left, cursor_key, remembered) as unit:
                asked = work(unit)
                if not isawaitable(asked):
                    raise InvalidRequestError(
                        "what is to be run is not asynchronous", hint="write async def work(tx): …"
                    )
                return await asked
        except ConflictError as error:
            if isinstance(error, StaleVersionError) or error.outcome is not Outcome.NOT_APPLIED:
                raise
            # Rivals that repeat in step would collide again.
            pause = random.uniform(0, min(_PAUSE * 2**attempt, _LONGEST_PAUSE))  # noqa: S311 - no secret
            seconds = begun + options.deadline - now() - pause
            if attempt == attempts or seconds <= 0:
                raise
        await asyncio.sleep(pause)
        attempt, left = attempt + 1, replace(options, deadline=seconds)
