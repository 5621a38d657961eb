"""What a benchmark asks of an SQL database: a table that goes, and statements by the driver alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from healthstore.abc.adapter import Adapter
from healthstore.abc.bench import Bench, Call
from healthstore.adapters.sql.dialect import Connection, Row
from healthstore.adapters.sql.session import SqlSession
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Op

if TYPE_CHECKING:
    from healthstore.adapters.sql.adapter import SqlAdapter

__all__ = ("SqlBench",)


class SqlBench(Bench[SqlSession]):
    """The driver alone is a connection that is held: no pool, no compiler, no conversion."""

    adapter: SqlAdapter

    async def drop(self, session: SqlSession, name: str) -> None:
        """Drop the table, with its indexes."""
        preparer = self.adapter.dialect.ddl_compiler.identifier_preparer
        quote: Callable[[str], str] = preparer.quote_identifier
        await session.connection.run(f"DROP TABLE IF EXISTS {quote(name)}")

    async def call(self, session: SqlSession, op: Op[Any]) -> Call:
        """Let the adapter say which statement it would send, and with which values."""
        told = SqlSession(cast("Connection", _Tape()), session.pool)
        try:
            await Adapter.run(
                self.adapter, told, op
            )  # not the database's own, which needs a connection
        except _Asked as asked:
            send = getattr(session.connection, asked.method)
            return partial(send, asked.sql, asked.parameters)
        raise InvalidRequestError(
            "the operation is not one statement", hint="measure single documents, and pages"
        )


class _Asked(BaseException):
    """The statement that a connection was asked to run."""

    def __init__(self, method: str, sql: str, parameters: Row) -> None:
        super().__init__(method)
        self.method, self.sql, self.parameters = method, sql, parameters


class _Tape:
    """A connection that sends nothing, and raises what it was asked first."""

    async def fetch(self, sql: str, parameters: Row) -> None:
        raise _Asked("fetch", sql, parameters)

    async def execute(self, sql: str, parameters: Row) -> None:
        raise _Asked("execute", sql, parameters)
