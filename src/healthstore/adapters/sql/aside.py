"""Indexes that are built before a table is altered, each by itself, while others write.

Such a build stands in no transaction (https://www.postgresql.org/docs/current/sql-createindex.html,
"Building Indexes Concurrently"). What it leaves is an index that the catalog does not know: a whole
one is used by whoever asks again, half of one is dropped and built again, and what nobody asks for
goes with the next alteration or renaming of its table.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from healthstore.abc.farewell import farewell
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.alter import built_aside
from healthstore.adapters.sql.dialect import Aside, Connection, Dialect
from healthstore.adapters.sql.errors import Verdict
from healthstore.adapters.sql.pool import within
from healthstore.adapters.sql.schema import wholeness
from healthstore.adapters.sql.session import SqlSession
from healthstore.errors import DeadlineExceededError
from healthstore.model.catalog import CATALOG, catalog_id, require_unaltered
from healthstore.model.ops import Alter, Get

if TYPE_CHECKING:
    from healthstore.adapters.sql.adapter import SqlAdapter

__all__ = ("build_aside",)

_PAUSES = (0.05, 1.0)  # seconds between two looks whether it is one's turn: the first, the longest
_SHARE = 0.95  # of the deadline: then there is time to say so, or for the alteration
_MOST = 2**31 - 1  # milliseconds that a server takes for a limit
_TIDY_SECONDS = 5.0  # for dropping half an index; else the next call does it


async def build_aside(adapter: SqlAdapter, op: Alter) -> None:
    """Build the indexes of an alteration that need nothing else of it, unless they are there.

    The connection is one of its own. Waits for others who build, and for every transaction that
    was open before; raises DeadlineExceededError if they take the time that the alteration has.
    What was stopped is tidied up behind the caller's back, as far as that is quickly done. What
    the server cannot build so is left to the alteration.
    """
    aside, wanted = adapter.dialect.aside, built_aside(op.before, op.after, adapter.dialect)
    if aside is None or not wanted:
        return
    building: set[str] = set()
    try:
        connection = await within(adapter.connect_seconds, adapter.dial_pooled)
        try:
            async with asyncio.timeout(op.deadline * _SHARE):
                await _ready(connection, adapter.dialect, aside, op.deadline)
                await _turn(connection, aside)
                if await _is_to_be_altered(adapter, connection, op):
                    await _build(connection, adapter.dialect, aside, wanted, building)
        finally:
            await farewell(connection.discard())  # it ends what the server does, and gives the turn
    except BaseException as error:
        if building:
            adapter.kept(_tidy(adapter, aside, building))
        if isinstance(error, TimeoutError):
            raise DeadlineExceededError(
                "an index was not built in time",
                hint="end transactions that have been open for long, of any table, or give it a "
                "longer deadline; the collection is as it was",
            ) from None
        raise


async def _ready(connection: Connection, dialect: Dialect, aside: Aside, seconds: float) -> None:
    milliseconds = int(min(max(1, seconds * 1000), _MOST))
    for statement in aside.before:
        await connection.run(statement.format(milliseconds))
    for statement in aside.able:
        try:
            await connection.run(statement)
        except Exception as error:
            if dialect.classify(error, Phase.STEP, None).verdict is not Verdict.MISTAKE:
                raise


async def _turn(connection: Connection, aside: Aside) -> None:
    """Wait until nobody else builds: half an index may be one that somebody is building.

    It is asked again and again: a statement that waits has a snapshot, for which who builds waits.
    """
    pause, longest = _PAUSES
    while not (await connection.fetch(aside.turn, ()))[0][0]:
        await asyncio.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311 - no secret
        pause = min(2 * pause, longest)


async def _is_to_be_altered(adapter: SqlAdapter, connection: Connection, op: Alter) -> bool:
    session = SqlSession(connection, adapter.writers)
    (row,) = await adapter.get(session, Get(CATALOG, (catalog_id(op.after.name),)))
    return require_unaltered(row, op.before, op.after)


async def _build(
    connection: Connection,
    dialect: Dialect,
    aside: Aside,
    wanted: Mapping[str, str],
    building: set[str],
) -> None:
    """Build what is missing or half there; ``building`` is what was begun and has not ended."""
    pause, longest = _PAUSES
    for name, statement in wanted.items():
        while not (whole := (await wholeness(connection, dialect)).get(name)):
            if whole is not None:
                await connection.run(_dropping(dialect, aside, name))
            building.add(name)
            try:
                await connection.run(statement)
            except Exception as error:
                verdict = dialect.classify(error, Phase.STEP, None).verdict
                if verdict is Verdict.MISTAKE:  # of a table in partitions, which others have made
                    building.discard(name)
                    break
                # Somebody who waits for the table is waited for by the build.
                if verdict is not Verdict.CONFLICT:
                    raise
                await asyncio.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311 - no secret
                pause = min(2 * pause, longest)
            else:
                building.discard(name)


async def _tidy(adapter: SqlAdapter, aside: Aside, begun: Container[str]) -> None:
    """Drop halves of indexes, which cost each write something, if that is quickly done."""
    with suppress(Exception):  # the next call, or the next alteration of the table, drops them
        connection = await within(adapter.connect_seconds, adapter.dial_pooled)
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await _ready(connection, adapter.dialect, aside, _TIDY_SECONDS)
                await _turn(connection, aside)
                for name, whole in (await wholeness(connection, adapter.dialect)).items():
                    if name in begun and not whole:
                        await connection.run(_dropping(adapter.dialect, aside, name))
        finally:
            await farewell(connection.discard())


def _dropping(dialect: Dialect, aside: Aside, name: str) -> str:
    return f"DROP {aside.index} {dialect.ddl_compiler.identifier_preparer.quote_identifier(name)}"
