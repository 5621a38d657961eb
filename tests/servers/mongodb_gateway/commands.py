"""Commands that the engine answers: each a call of one of its SQL functions.

Source of the functions: the extension's own SQL, schemas ``documentdb_api``,
``documentdb_api_catalog`` and ``documentdb_api_internal``. They take a command as the client
sent it and return the reply, both BSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument

from .command import RAW, Command
from .cursors import Cursor, Cursors
from .engine import Link
from .errors import (
    BAD_VALUE,
    TRANSIENT,
    WRITE_CONFLICT,
    CommandError,
    PartialFailureError,
    unpacked,
)
from .explain import explain

__all__ = ("COMMANDS", "Entry", "Work")

OK: Final = bson.encode({"ok": 1.0})


@dataclass(frozen=True, slots=True)
class Work:
    """One run of a command on one link."""

    command: Command
    link: Link
    cursors: Cursors

    async def call(self, sql: str, *arguments: object) -> Any:
        """Run one statement within the command's time limit and return its first row."""
        return await self.link.call(sql, *arguments, milliseconds=self.command.milliseconds)


@dataclass(frozen=True, slots=True)
class Entry:
    """How a command runs."""

    run: Callable[[Work], Awaitable[bytes]]
    writes: bool = False
    """Whether it goes on to its end when the client has gone."""
    transactional: bool = False
    """Whether MongoDB allows it in a transaction."""


# ---------------------------------------------------------------- documents
_SEQUENCES: Final[Mapping[str, str]] = {
    "insert": "documents",
    "update": "updates",
    "delete": "deletes",
}


async def _write(work: Work) -> bytes:
    """Insert, update or delete."""
    command = work.command
    row = await work.call(
        f"SELECT * FROM documentdb_api.{command.name}($1, $2, $3, $4)",
        command.database,
        command.raw,
        command.sequences.get(_SEQUENCES[command.name]),
        command.retry_id,
    )
    if not row["p_success"]:
        raise _failure(command, row["p_result"])
    return bytes(row["p_result"])


def _failure(command: Command, result: bytes) -> CommandError:
    """Return the reply of a command some writes of which failed, with MongoDB's codes."""
    answer: dict[str, Any] = dict(RawBSONDocument(result, RAW))
    errors = [dict(error) for error in answer.get("writeErrors", ())]
    for error in errors:
        error["code"] = unpacked(error["code"])
    conflict = any(error["code"] == WRITE_CONFLICT for error in errors)
    if conflict and (command.in_transaction or not answer.get("n")):
        # MongoDB tells a conflict of the whole command; nothing of this one stays applied.
        labels = (TRANSIENT,) if command.in_transaction else ()
        return CommandError(WRITE_CONFLICT, "a concurrent operation was first", labels)
    return PartialFailureError(bson.encode({**answer, "writeErrors": errors}))


async def _find_and_modify(work: Work) -> bytes:
    command = work.command
    row = await work.call(
        "SELECT * FROM documentdb_api.find_and_modify($1, $2, $3)",
        command.database,
        command.raw,
        command.retry_id,
    )
    return bytes(row["p_result"])


# ---------------------------------------------------------------- cursors
def _first_page(function: str) -> Callable[[Work], Awaitable[bytes]]:
    async def run(work: Work) -> bytes:
        """Return the first page, and keep what the next ones need."""
        command = work.command
        row = await work.call(
            f"SELECT * FROM documentdb_api.{function}_cursor_first_page($1, $2)",
            command.database,
            command.raw,
        )
        page: bytes = row["cursorpage"]
        if row["cursorid"] and row["continuation"]:
            cursor = Cursor(row["cursorid"], command.database, command.session, row["continuation"])
            if command.in_transaction:
                cursor.transaction = command.key
            elif row["persistconnection"]:
                cursor.link = work.link
                work.link.pinned = True
            work.cursors.add(cursor)
        return page

    return run


# ---------------------------------------------------------------- one call, one document
def _call(sql: str, *fields: str) -> Callable[[Work], Awaitable[bytes]]:
    """Call a function that takes the database, text fields of the command, and the command."""

    async def run(work: Work) -> bytes:
        command = work.command
        texts = [command.target if field == "" else command.text(field) for field in fields]
        row = await work.call(sql, command.database, *texts, command.raw)
        return bytes(row[0])

    return run


async def _create_indexes(work: Work) -> bytes:
    # The public function builds in the background: duplicates get in before the index holds.
    sql = "SELECT documentdb_api_internal.create_indexes_non_concurrently($1, $2, true)"
    answer = bson.decode((await work.call(sql, work.command.database, work.command.raw))[0])
    shards = answer.pop("raw", {})  # the shape of a sharded cluster's reply
    for shard in shards.values():
        answer |= shard
    return bson.encode(answer)


async def _drop_indexes(work: Work) -> bytes:
    sql = "CALL documentdb_api.drop_indexes($1, $2)"
    answer = bson.decode((await work.call(sql, work.command.database, work.command.raw))[0])
    return bson.encode({**answer, "ok": 1.0 if answer["ok"] else 0.0})


async def _statistics(work: Work, sql: str, *names: str) -> bytes:
    scale = work.command.fields.get("scale", 1)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale < 1:
        raise CommandError(BAD_VALUE, "scale must be a positive number")
    row = await work.call(sql, work.command.database, *names, float(scale))
    return bytes(row[0])


async def _coll_stats(work: Work) -> bytes:
    return await _statistics(
        work, "SELECT documentdb_api.coll_stats($1, $2, $3)", work.command.target
    )


async def _db_stats(work: Work) -> bytes:
    return await _statistics(work, "SELECT documentdb_api.db_stats($1, $2)")


async def _list_databases(work: Work) -> bytes:
    row = await work.call("SELECT documentdb_api.list_databases($1)", work.command.raw)
    return bytes(row[0])


async def _drop(work: Work) -> bytes:
    command = work.command
    namespace = f"{command.database}.{command.target}"
    sql = "SELECT documentdb_api.drop_collection($1, $2)"
    existed = (await work.call(sql, command.database, command.target))[0]
    return bson.encode({"ns": namespace, "ok": 1.0}) if existed else OK


async def _drop_database(work: Work) -> bytes:
    await work.call("SELECT documentdb_api.drop_database($1)", work.command.database)
    return bson.encode({"dropped": work.command.database, "ok": 1.0})


async def _rename(work: Work) -> bytes:
    command = work.command
    database, _, name = command.target.partition(".")
    other, _, new_name = command.text("to").partition(".")
    if not (name and new_name and database == other):
        raise CommandError(BAD_VALUE, "a collection is renamed inside its database only")
    drop = command.fields.get("dropTarget") is True
    sql = "SELECT documentdb_api.rename_collection($1, $2, $3, $4)"
    await work.call(sql, database, name, new_name, drop)
    return OK


async def _explain(work: Work) -> bytes:
    return await explain(work.command, work.link)


COMMANDS: Final[Mapping[str, Entry]] = {
    "aggregate": Entry(_first_page("aggregate"), transactional=True),
    "collmod": Entry(_call("SELECT documentdb_api.coll_mod($1, $2, $3)", ""), writes=True),
    "collstats": Entry(_coll_stats),
    "count": Entry(_call("SELECT documentdb_api.count_query($1, $2)")),
    "create": Entry(
        _call("SELECT documentdb_api.create_collection_view($1, $2)"),
        writes=True,
        transactional=True,
    ),
    "createindexes": Entry(_create_indexes, writes=True, transactional=True),
    "dbstats": Entry(_db_stats),
    "delete": Entry(_write, writes=True, transactional=True),
    "distinct": Entry(_call("SELECT documentdb_api.distinct_query($1, $2)"), transactional=True),
    "drop": Entry(_drop, writes=True),
    "dropdatabase": Entry(_drop_database, writes=True),
    "dropindexes": Entry(_drop_indexes, writes=True),
    "explain": Entry(_explain),
    "find": Entry(_first_page("find"), transactional=True),
    "findandmodify": Entry(_find_and_modify, writes=True, transactional=True),
    "insert": Entry(_write, writes=True, transactional=True),
    "listcollections": Entry(_first_page("list_collections")),
    "listdatabases": Entry(_list_databases),
    "listindexes": Entry(_first_page("list_indexes")),
    "renamecollection": Entry(_rename, writes=True),
    "update": Entry(_write, writes=True, transactional=True),
}
