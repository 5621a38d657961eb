"""A session: a connection that is lent, and the transaction that is open on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from healthstore.abc.backend import UnitOptions
from healthstore.adapters.sql.dialect import CommitError, Connection, Dialect
from healthstore.adapters.sql.pool import Pool

__all__ = ("Lent", "SqlSession", "begin")

_ROLLBACK_SECONDS = 0.2  # then the connection is closed, which rolls back as well


@dataclass(slots=True)
class SqlSession:
    """A connection lent for one operation or one unit."""

    connection: Connection
    pool: Pool
    in_unit: bool = False
    in_transaction: bool = False
    parts: int = 0

    @asynccontextmanager
    async def exclusive(self, dialect: Dialect) -> AsyncGenerator[None, None]:
        """Run a block that changes the schema, while no other one does."""
        before, succeeded, failed = dialect.admin
        await _run_all(self.connection, before)
        self.in_transaction = True
        try:
            yield
        except Exception:
            await _roll_back(self.connection, failed)
            raise
        await _run_all(self.connection, succeeded)

    @asynccontextmanager
    async def patient(self, dialect: Dialect) -> AsyncGenerator[None, None]:
        """Run a block that may take long and waits for the locks of others for seconds only."""
        before, afterwards = dialect.patience
        await _run_all(self.connection, before)
        try:
            yield
        except Exception:
            await _roll_back(self.connection, afterwards)
            raise
        await _run_all(self.connection, afterwards)

    @asynccontextmanager
    async def atomic(self, dialect: Dialect) -> AsyncGenerator[bool, None]:
        """Run a block in a transaction: the session's own, or a new one.

        Yields whether it is a new one, which ends with the block's last write. Raises
        CommitError for what may have been committed.
        """
        if self.in_transaction:
            yield False
            return
        await self.connection.begin(dialect.begin_write)
        self.in_transaction = True
        try:
            yield True
        except Exception:
            await _roll_back(self.connection)
            raise
        finally:
            self.in_transaction = False
        try:
            await self.connection.commit()
        except Exception as error:  # noqa: BLE001 - only here it is known to be a COMMIT
            raise CommitError(error) from None

    @asynccontextmanager
    async def part(self) -> AsyncGenerator[None, None]:
        """Run a block as a part of the transaction: if it fails, only that is undone."""
        self.parts += 1
        name = f"part_{self.parts}"  # of its own: MySQL keeps only the last of equal names
        await self.connection.run(f"SAVEPOINT {name}")
        try:
            yield
        except Exception:  # cancelled, a statement may still run: then the whole must be undone
            await self.connection.run(f"ROLLBACK TO SAVEPOINT {name}")
            await self.connection.run(f"RELEASE SAVEPOINT {name}")
            raise
        await self.connection.run(f"RELEASE SAVEPOINT {name}")

    async def commit(self) -> None:
        """Commit, and give the connection back; one whose commit failed is discarded."""
        try:
            await self.connection.commit()
        except BaseException:
            await self.pool.discard(self.connection)
            raise
        await self.pool.release(self.connection)

    async def rollback(self) -> None:
        """Roll back, and give the connection back; if that fails, closing it rolls back."""
        try:
            if not self.connection.reusable:
                async with asyncio.timeout(_ROLLBACK_SECONDS):
                    await self.connection.run("ROLLBACK")
        except Exception:  # noqa: BLE001 - the server rolls back what is disconnected
            await self.pool.discard(self.connection)
            return
        except BaseException:
            await self.pool.discard(self.connection)
            raise
        await self.pool.release(self.connection)


class Lent:
    """Lends a session for one operation, as an asynchronous context: with no transaction open.

    A class, as it is on the way of every call: a generator costs 2 µs more.
    """

    __slots__ = ("_connection", "_pool")

    _connection: Connection

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> SqlSession:
        """Take a connection."""
        self._connection = await self._pool.acquire()
        return SqlSession(self._connection, self._pool)

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Give it back."""
        await self._pool.take_back(self._connection, error)


async def begin(pool: Pool, dialect: Dialect, options: UnitOptions) -> SqlSession:
    """Take a connection and begin a unit's transaction on it."""
    connection = await pool.acquire()
    try:
        await _run_all(connection, dialect.begin[options.isolation, options.read_only])
    except BaseException as error:
        pool.failed(error)
        await pool.discard(connection)
        raise
    return SqlSession(connection, pool, in_unit=True, in_transaction=True)


async def _run_all(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        await connection.run(statement)


async def _roll_back(connection: Connection, statements: Iterable[str] = ("ROLLBACK",)) -> None:
    """Roll back after a failure, which is the error to report."""
    try:
        await _run_all(connection, statements)
    except Exception:  # noqa: BLE001 - the first failure is being raised
        # Closing rolls back too; the pool would not take this connection back anyway.
        await connection.discard()
