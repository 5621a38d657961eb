"""A connection of its own to an SQL database, for checks; what differs is in :class:`Probing`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from healthstore.abc.examination import Examination
from healthstore.abc.prober import Figures, Vitals
from healthstore.abc.unit import Phase
from healthstore.adapters.sql import examination
from healthstore.adapters.sql.dialect import Connection, Dialect, Row
from healthstore.adapters.sql.errors import Verdict
from healthstore.adapters.sql.pool import within
from healthstore.errors import Condition, HealthstoreError, LifecycleError, UnavailableError
from healthstore.model.catalog import CATALOG
from healthstore.model.filling import is_mark
from healthstore.model.schema import Collection

__all__ = ("CANARY", "MYSQL", "POSTGRESQL", "SQLITE", "Probed", "Probing", "SqlProber")

CANARY = "healthstore_canary"
"""The table of one row that checks write; it is no collection, and in no catalog."""
_ATTEMPTS = 3
# From here on the server's estimate of a table's rows is close enough; below, counting is cheap.
_COUNTED_BELOW = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How one database is checked and measured."""

    check: str
    vitals: Callable[[Row], Vitals]
    """From the one row of ``check``."""
    create: str
    write: str
    figures: str
    """Returns product, version, bytes, connections and waiting requests in one row."""
    status: str = ""
    """Returns names and values, for figures that the query above has not."""
    estimates: str = ""
    """Returns each table's name and its rows, about; without it they are counted."""
    questions: examination.Questions


class Probed(Protocol):
    """What a prober needs of its adapter."""

    dialect: Dialect
    probing: Probing
    connect_seconds: float
    verified: bool

    @property
    def name(self) -> str:
        """The member's name."""
        ...

    async def dial_prober(self) -> Connection:
        """Open a connection outside of the pool."""
        ...

    async def vitals(self, connection: Connection, row: Row) -> Vitals:
        """Return what a check saw."""
        ...

    def ours(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Return the error of ours for a driver's."""
        ...


class SqlProber:
    """A prober on a connection that no pool knows; see :class:`~healthstore.abc.prober.Prober`."""

    def __init__(self, adapter: Probed) -> None:
        self._adapter = adapter
        self._connection: Connection | None = None

    async def connect(self) -> None:
        """Connect and log in, handshake included, within the member's ``connect_timeout``."""
        if self._connection is not None:
            return
        adapter = self._adapter
        async with self._translated(Phase.CONNECT):
            self._connection = await within(adapter.connect_seconds, adapter.dial_prober)

    async def check(self) -> Vitals:
        """Ask in one round trip whether it answers and takes writes."""
        connection = self._lent()
        async with self._translated(Phase.READ):
            (row,) = await connection.fetch(self._adapter.probing.check, ())
            return await self._adapter.vitals(connection, row)

    async def write(self) -> None:
        """Change the one row of the table of checks; the first write makes it."""
        connection = self._lent()
        async with self._translated(Phase.WRITE):
            for _ in range(_ATTEMPTS):
                try:
                    await self._write(connection)
                except Exception as error:
                    if self._verdict(error, Phase.WRITE) is not Verdict.CONFLICT:
                        raise
                else:
                    return
            busy = UnavailableError(
                "another writer holds the lock", hint="look for units that are held open"
            )
            busy.condition = Condition.OVERLOADED
            raise busy

    async def measure(self) -> Figures:
        """Ask for the figures: a few queries, none of which needs special rights."""
        probing = self._adapter.probing
        connection = self._lent()
        async with self._translated(Phase.READ):
            ((product, version, size, connections, waiting),) = await connection.fetch(
                probing.figures, ()
            )
            figures = Figures(
                f"{_text(product)} {_text(version)}",
                bytes=_number(size),
                documents=await self._documents(connection),
                connections=_number(connections),
                waiting=_number(waiting),
            )
            if probing.status:
                rows = await connection.fetch(probing.status, ())
                found = {_text(name): _number(value) for name, value in rows}
                figures = replace(
                    figures,
                    connections=found.get("Threads_connected"),
                    waiting=found.get("Innodb_row_lock_current_waits"),
                )
            return figures

    async def examine(self) -> Examination:
        """Ask how the server is set up; changes nothing."""
        adapter = self._adapter
        connection = self._lent()
        async with self._translated(Phase.READ):
            return await examination.examine(
                connection, adapter.probing.questions, verified=adapter.verified
            )

    async def close(self) -> None:
        """Drop the connection; the server hears nothing of it, so it is not waited for."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.abort()

    async def _write(self, connection: Connection) -> None:
        try:
            await connection.run(self._adapter.probing.write)
        except Exception as error:
            if self._verdict(error, Phase.WRITE) is not Verdict.MISSING:
                raise
            await self._create(connection)
            await connection.run(self._adapter.probing.write)

    def _verdict(self, error: BaseException, phase: Phase) -> Verdict:
        return self._adapter.dialect.classify(error, phase, None).verdict

    async def _create(self, connection: Connection) -> None:
        before, succeeded, failed = self._adapter.dialect.admin
        for statement in before:
            await connection.run(statement)
        try:
            await connection.run(self._adapter.probing.create)
        except Exception:
            for statement in failed:
                await connection.run(statement)
            raise
        for statement in succeeded:
            await connection.run(statement)

    async def _documents(self, connection: Connection) -> Mapping[str, int]:
        """Count the documents of the collections that the catalog knows."""
        names = await self._fetch_there(connection, f"SELECT name FROM {CATALOG.name}")
        about: dict[str, int] = {}
        if names and self._adapter.probing.estimates:
            rows = await connection.fetch(self._adapter.probing.estimates, ())
            about = {_text(name): _number(number) or 0 for name, number in rows}
        quote: Callable[[str], str] = (
            self._adapter.dialect.ddl_compiler.identifier_preparer.quote_identifier
        )
        documents: dict[str, int] = {}
        for name in sorted(each for row in names if not is_mark(each := _text(row[0]))):
            if about.get(name, 0) >= _COUNTED_BELOW:
                documents[name] = about[name]
                continue
            # The name comes from the catalog, where no other characters can be; it is quoted too.
            counted = await self._fetch_there(connection, f"SELECT count(*) FROM {quote(name)}")
            for row in counted:
                documents[name] = int(row[0])
        return documents

    async def _fetch_there(self, connection: Connection, sql: str) -> Sequence[Row]:
        """Return the rows of a table, none if the table is not there."""
        try:
            return await connection.fetch(sql, ())
        except Exception as error:
            if self._verdict(error, Phase.READ) is Verdict.MISSING:
                return ()
            raise

    def _lent(self) -> Connection:
        if self._connection is None:
            raise LifecycleError(
                "the prober is not connected",
                hint="call connect() first",
                backend=self._adapter.name,
            )
        return self._connection

    @asynccontextmanager
    async def _translated(self, phase: Phase) -> AsyncGenerator[None, None]:
        """Raise only errors of ours."""
        try:
            yield
        except HealthstoreError as error:
            raise error.at(backend=self._adapter.name) from error.__cause__
        except Exception as error:  # noqa: BLE001 - translated, as in Adapter.execute
            raise self._adapter.ours(error, phase, None) from None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _of_postgresql(row: Row) -> Vitals:
    replica, read_only = row
    if replica:
        return Vitals(writable=False, reason="it is a replica, in recovery")
    return (
        Vitals()
        if read_only == "off"
        else Vitals(writable=False, reason="its transactions are read-only")
    )


def _of_mysql(row: Row) -> Vitals:
    on = [
        name
        for name, value in zip(("read_only", "innodb_read_only"), row, strict=True)
        if str(value).upper() not in {"0", "OFF"}
    ]
    return Vitals(writable=False, reason=f"{' and '.join(on)} is on") if on else Vitals()


POSTGRESQL = Probing(
    check="SELECT pg_is_in_recovery(), current_setting('transaction_read_only')",
    vitals=_of_postgresql,
    create=f"CREATE TABLE IF NOT EXISTS {CANARY} (id integer PRIMARY KEY, writes bigint NOT NULL)",
    write=f"INSERT INTO {CANARY} VALUES (1, 1) "
    f"ON CONFLICT (id) DO UPDATE SET writes = {CANARY}.writes + 1",
    # pg_locks and pg_stat_database hide nothing from ordinary users, pg_stat_activity does.
    figures="SELECT 'PostgreSQL', split_part(current_setting('server_version'), ' ', 1), "
    "pg_database_size(current_database()), "
    "(SELECT sum(numbackends) FROM pg_stat_database), "
    "(SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted)",
    estimates="SELECT relname::text, reltuples::bigint FROM pg_class "
    "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')",
    questions=examination.POSTGRESQL,
)
MYSQL = Probing(
    # super_read_only implies read_only, and MariaDB has none.
    check="SELECT @@global.read_only, @@global.innodb_read_only",
    vitals=_of_mysql,
    create=f"CREATE TABLE IF NOT EXISTS {CANARY} (id int PRIMARY KEY, writes bigint NOT NULL) "
    "ENGINE=InnoDB",
    write=f"INSERT INTO {CANARY} VALUES (1, 1) ON DUPLICATE KEY UPDATE writes = writes + 1",
    figures="SELECT IF(LOCATE('MariaDB', VERSION()), 'MariaDB', 'MySQL'), "
    "SUBSTRING_INDEX(VERSION(), '-', 1), "
    "(SELECT CAST(SUM(data_length + index_length) AS SIGNED) FROM information_schema.tables "
    "WHERE table_schema = DATABASE()), NULL, NULL",
    status="SHOW GLOBAL STATUS WHERE Variable_name IN "
    "('Threads_connected', 'Innodb_row_lock_current_waits')",
    estimates="SELECT table_name, table_rows FROM information_schema.tables "
    "WHERE table_schema = DATABASE()",
    questions=examination.MYSQL,
)
SQLITE = Probing(
    check="SELECT count(*) FROM (SELECT 1 FROM sqlite_master LIMIT 1)",
    vitals=lambda _: Vitals(),
    create=f"CREATE TABLE IF NOT EXISTS {CANARY} (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL) "
    "STRICT",
    write=f"INSERT INTO {CANARY} VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = writes + 1",
    figures="SELECT 'SQLite', sqlite_version(), page_count * page_size, NULL, NULL "
    "FROM pragma_page_count, pragma_page_size",
    questions=examination.SQLITE,
)
