"""An adapter on pools of connections: how it is opened, what a session is, how it is defined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from healthstore.abc.adapter import Adapter
from healthstore.abc.backend import UnitOptions
from healthstore.abc.prober import PoolFigures, Prober, Vitals
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.alter import alter
from healthstore.adapters.sql.bench import SqlBench
from healthstore.adapters.sql.compile import Statements
from healthstore.adapters.sql.dialect import CommitError, Connection, Dialect, Row
from healthstore.adapters.sql.errors import explain
from healthstore.adapters.sql.explaining import explained
from healthstore.adapters.sql.pool import Pool
from healthstore.adapters.sql.prober import Probing, SqlProber
from healthstore.adapters.sql.rename import rename
from healthstore.adapters.sql.schema import create, names
from healthstore.adapters.sql.session import Lent, SqlSession, begin
from healthstore.adapters.sql.tables import drop_table, table_of
from healthstore.errors import HealthstoreError
from healthstore.model.ops import (
    Alter,
    Drop,
    Effect,
    Ensure,
    Explained,
    Rename,
)
from healthstore.model.schema import Collection

__all__ = ("ConnectedAdapter",)

R = TypeVar("R")


class ConnectedAdapter(Adapter[SqlSession]):
    """Lends connections of a pool, and has the tables of collections.

    A driver's module subclasses it with ``connect``, which checks the server, and ``dial``, and
    sets ``dialect``, ``probing``, ``connect_seconds``, ``writers`` and ``readers`` (the same
    pool where readers need no other), whose connections come from ``dial_pooled``.
    """

    dialect: Dialect
    probing: Probing
    connect_seconds: float
    verified: bool = False
    """Whether the server must prove who it is."""
    writers: Pool
    readers: Pool

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._statements: dict[Collection, Statements] = {}

    @abstractmethod
    async def dial(self) -> Connection:
        """Open one connection, ready for use; raise what the driver raises."""

    async def dial_pooled(self) -> Connection:
        """Open a connection for a pool: an error says that nothing was attempted yet."""
        try:
            return await self.dial()
        except HealthstoreError:
            raise
        except Exception as error:  # noqa: BLE001 - translated: only here its phase is known
            raise self.ours(error, Phase.CONNECT, None) from None

    async def dial_prober(self) -> Connection:
        """Open a connection for a prober."""
        return await self.dial()

    async def disconnect(self) -> None:
        """Close both pools."""
        for pool in self._pools():
            await pool.close()

    def abandon(self) -> None:
        """Drop the connections of both pools."""
        for pool in self._pools():
            pool.abandon()

    def _pools(self) -> Iterable[Pool]:
        pools = [pool for name in ("writers", "readers") if (pool := getattr(self, name, None))]
        return {id(pool): pool for pool in pools}.values()

    def prober(self) -> Prober:
        """Return a prober on a connection outside of the pool."""
        return SqlProber(self)

    def bench(self) -> SqlBench:
        """Return what a benchmark asks; see :class:`~healthstore.abc.bench.Benched`."""
        return SqlBench(self)

    async def vitals(self, connection: Connection, row: Row) -> Vitals:
        """Return what a check saw, from the row of ``probing.check``."""
        del connection
        return self.probing.vitals(row)

    def pool(self) -> PoolFigures | None:
        """Return the figures of all connections; None while the backend is closed."""
        if not self._opened:
            return None
        every = [pool.figures() for pool in self._pools()]
        return PoolFigures(
            size=sum(each.size for each in every),
            open=sum(each.open for each in every),
            in_use=sum(each.in_use for each in every),
            waiting=sum(each.waiting for each in every),
        )

    async def ping(self) -> None:
        """Make one round trip."""
        self._require_open()
        try:
            async with self.readers.lend() as connection:
                await connection.ping()
        except HealthstoreError as error:
            raise error.at(backend=self.name) from None
        except Exception as error:  # noqa: BLE001 - translated, as in execute
            raise self.ours(error, Phase.READ, None) from None

    # --- sessions --------------------------------------------------------------------------

    def session(self, effect: Effect) -> AbstractAsyncContextManager[SqlSession]:
        """Lend a connection; a change of the schema excludes every other one."""
        lent = Lent(self.readers if effect is Effect.READ else self.writers)
        return self._changing(lent) if effect is Effect.ADMIN else lent

    @asynccontextmanager
    async def _changing(self, lent: Lent) -> AsyncGenerator[SqlSession, None]:
        async with lent as session, session.exclusive(self.dialect):
            yield session

    async def begin_session(self, options: UnitOptions) -> SqlSession:
        """Take a connection and begin a transaction on it."""
        return await begin(
            self.readers if options.read_only else self.writers, self.dialect, options
        )

    async def commit_session(self, session: SqlSession) -> None:
        """Commit, and give the connection back; one whose commit failed is discarded."""
        await session.commit()

    async def rollback_session(self, session: SqlSession) -> None:
        """Roll back, and give the connection back; if that fails, closing it rolls back."""
        await session.rollback()

    def part(self, session: SqlSession) -> AbstractAsyncContextManager[None]:
        """Run a block as a part of the session's transaction: if it fails, only that is undone."""
        return session.part()

    @asynccontextmanager
    async def _atomic(
        self, session: SqlSession, collection: Collection
    ) -> AsyncGenerator[bool, None]:
        """Run a block in a transaction; of what fails before the commit nothing is kept.

        Yields whether the transaction ends with the block's last write.
        """
        try:
            async with session.atomic(self.dialect) as ends:
                yield ends
        except HealthstoreError:
            raise
        except CommitError as failed:
            raise self.ours(failed.error, Phase.COMMIT, collection) from None
        except Exception as error:  # noqa: BLE001 - translated: only here its phase is known
            raise self.ours(error, Phase.STEP, collection) from None

    def translate(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Classify a driver's error by its code."""
        return explain(self.dialect.classify(error, phase, collection), phase, collection)

    # --- the schema ------------------------------------------------------------------------

    @property
    def alters_whole(self) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride] - known when the server is
        """Whether a change of the schema is one transaction."""
        return self.dialect.existing_parts is None

    async def existing(self, session: SqlSession) -> frozenset[str]:
        """Return the names of all tables."""
        return await names(session.connection, self.dialect.existing)

    async def create(self, session: SqlSession, collection: Collection) -> None:
        """Create the table, its foreign keys and its indexes where they are missing."""
        await create(session.connection, self.dialect, collection)

    async def alter(self, session: SqlSession, before: Collection, after: Collection) -> None:
        """Alter the table; see :mod:`healthstore.adapters.sql.alter`."""
        async with session.patient(self.dialect):
            await alter(session.connection, self.dialect, before, after)

    async def rename(self, session: SqlSession, before: Collection, after: Collection) -> None:
        """Rename the table and its parts; see :mod:`healthstore.adapters.sql.rename`."""
        async with session.patient(self.dialect):
            await rename(session.connection, self.dialect, before, after)
        self._statements.pop(before, None)

    async def drop(self, session: SqlSession, collection: Collection) -> None:
        """Drop the table."""
        table = table_of(collection, self.dialect)
        async with session.patient(self.dialect):
            await session.connection.run(drop_table(table, self.dialect))
        self._statements.pop(collection, None)

    def explain(self, change: Ensure | Alter | Rename | Drop) -> Explained:
        """Return the statements; see :mod:`healthstore.adapters.sql.explaining`."""
        return explained(change, self.dialect)

    def statements(self, collection: Collection) -> Statements:
        """Return the compiled statements of a collection."""
        found = self._statements.get(collection)
        if found is None:
            table = table_of(collection, self.dialect)
            found = Statements(collection, table, self.dialect, self.statements)
            self._statements[collection] = found
        return found
