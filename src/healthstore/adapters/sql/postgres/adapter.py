"""The adapter of PostgreSQL: what a URL says, and what the server must be."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast
from uuid import UUID

from healthstore.abc.backend import Capabilities
from healthstore.abc.options import common_options, encryption
from healthstore.abc.tls import Tls, read_tls, tls_context
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL, Host
from healthstore.adapters.sql import prober
from healthstore.adapters.sql.adapter import SqlAdapter, SqlSession
from healthstore.adapters.sql.aside import build_aside
from healthstore.adapters.sql.deletes import IDS, referenced
from healthstore.adapters.sql.dialect import Connection
from healthstore.adapters.sql.errors import misconfigured
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL
from healthstore.adapters.sql.postgres.driver import dial
from healthstore.adapters.sql.postgres.joint import joint_patch
from healthstore.adapters.sql.session import Lent
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.model.ops import Alter, Delete, Get, Insert, Op, Patch, Patches
from healthstore.model.values import Document

__all__ = ("PostgresAdapter", "connect")

R = TypeVar("R")
_OLDEST = 150_000


def connect(url: BackendURL, name: str) -> PostgresAdapter:
    """Return the adapter for ``postgresql://user:password@host:port/database``."""
    if url.driver not in {"", "asyncpg", "psycopg", "psycopg2"}:
        raise ConfigurationError(
            f"PostgreSQL has no driver {url.driver!r}", hint="write postgresql://…"
        )
    options: dict[str, Any] = url.read_options(
        {
            **common_options(_located(url)),
            "sslmode": (_read_sslmode, None),
            "pgbouncer": (lambda text: text == "true", False),
        }
    )
    options["tls"] = encryption(url, options, "sslmode")
    return PostgresAdapter(name, url, options)


def _located(url: BackendURL) -> BackendURL:
    """Return the URL with the hosts of libpq's variable if it has none: asyncpg reads that too."""
    named = [each for each in os.environ.get("PGHOST", "").split(",") if each]
    return url if url.hosts else replace(url, hosts=tuple(map(Host, named)))


def _read_sslmode(text: str) -> object:
    """Read libpq's option; its opportunistic modes, which fall back to plain text, are kept."""
    return text if text in {"allow", "prefer"} else read_tls(text)


class PostgresAdapter(SqlAdapter):
    """A PostgreSQL database behind a pool of connections."""

    capabilities = Capabilities(
        semi_joins=True,
        element_indexes=True,
        term_indexes=True,
        parts=True,
        locks=True,
        coalesced=frozenset({Delete, Get, Insert, Patch}),
    )

    def __init__(self, name: str, url: BackendURL, options: Mapping[str, Any]) -> None:
        super().__init__(name)
        # What a build outside of a transaction holds and sets is of a session, and a pooler's
        # transactions are of several.
        self.dialect = replace(POSTGRESQL, aside=None) if options["pgbouncer"] else POSTGRESQL
        self.probing = prober.POSTGRESQL
        self.connect_seconds = options["connect_timeout"]
        self._url = url
        self._options = options
        tls = options["tls"]
        self._tls = tls_context(tls, options["tls_ca"]) if isinstance(tls, Tls) else tls
        self.verified = tls is Tls.VERIFY

    async def connect(self) -> None:
        """Connect once and check the server's version and encoding."""
        self.writers = self.readers = Pool(self.dial_pooled, PoolOptions.read(self._options))
        async with self.writers.lend() as connection:
            ((version, encoding),) = await connection.fetch(
                "SELECT current_setting('server_version_num'), current_setting('server_encoding')",
                (),
            )
        if int(version) < _OLDEST:
            raise misconfigured("the PostgreSQL server is too old", hint="15 or newer is needed")
        if encoding != "UTF8":
            raise misconfigured(
                f"the database is encoded in {encoding}",
                hint="create it with ENCODING 'UTF8'",
            )

    async def dial(self) -> Connection:
        """Open a connection in UTC, with deadlines that the server keeps too."""
        return await dial(self._url, self._tls, self._options)

    async def execute(self, op: Op[R]) -> R:
        """Run one operation; before an alteration build what stands in no transaction."""
        change: object = op  # pyright takes the type of the result for that of an alteration else
        if isinstance(change, Alter):
            await self._build_aside(change)
        return await super().execute(op)

    async def _build_aside(self, op: Alter) -> None:
        self._require_open()
        try:
            await build_aside(self, op)
        except HealthstoreError as error:
            raise self.placed(error, op) from error.__cause__
        except Exception as error:  # noqa: BLE001 - translated, as in execute
            raise self.ours(error, Phase.STEP, op.collection) from None

    @asynccontextmanager
    async def _changing(self, lent: Lent) -> AsyncGenerator[SqlSession, None]:
        async with super()._changing(lent) as session:
            yield session
        # What they have prepared may be of the definition before: in a unit that is a conflict.
        await self.writers.drop_idle()

    async def delete(self, session: SqlSession, op: Delete) -> tuple[bool, ...]:
        """Delete by one statement, which tells of several ids which were there.

        No document is read for it. References are checked at the end of a statement.
        """
        if not 1 < len(op.ids) <= IDS or op.versions is not None:
            return await super().delete(session, op)
        statements = self.statements(op.collection)
        compiled, values = statements.delete(op.ids, returning=True)
        async with self._atomic(session, op.collection):
            with referenced(self.dialect, op.collection):
                rows = await session.connection.fetch(compiled.sql, values)
        gone = {cast(UUID, statements.decode("id", row[0])) for row in rows}
        return tuple([identity in gone for identity in op.ids])

    async def patches(self, session: SqlSession, op: Patches) -> tuple[tuple[Document] | None, ...]:
        """Change documents that nobody else holds, each another one, by one statement.

        What a row lacks of a guard, or of being free, is told by its absence.
        """
        if session.in_unit or len({each.ids for each in op.patches}) < len(op.patches):
            return await super().patches(session, op)
        statements = self.statements(op.collection)
        compiled = statements.patches(op.patches[0], joint_patch)
        rows = [[*statements.patch_values(each), at] for at, each in enumerate(op.patches)]
        values = compiled.bind([*zip(*rows, strict=True)])
        found = await session.connection.fetch(compiled.sql, values)
        results: list[tuple[Document] | None] = [None] * len(rows)
        documents = statements.documents([tuple(row)[:-1] for row in found])
        for row, document in zip(found, documents, strict=True):
            results[row[-1]] = (document,)
        return tuple(results)
