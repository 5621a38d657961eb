"""Transactions, sessions and connections of the replica set that the MongoDB adapter builds on."""

from __future__ import annotations

import asyncio

import pytest
from bson import Binary, Int64
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, OperationFailure
from tests.servers.replica_set import (
    URL,
    Client,
    Collection,
    Database,
    Document,
    RawConnection,
    ids,
    needs_server,
)

pytestmark = needs_server

WRITE_CONFLICT = 112
TRANSIENT = "TransientTransactionError"


async def add_one(rows: Collection, session: AsyncClientSession) -> None:
    """Increment the counter by a read and a write: what loses updates without conflicts."""
    document = await rows.find_one({"_id": "counter"}, session=session)
    assert document is not None
    await rows.update_one({"_id": "counter"}, {"$set": {"n": document["n"] + 1}}, session=session)


# ---------------------------------------------------------------- hello
async def test_a_client_sees_a_replica_set_with_sessions(client: Client) -> None:
    """Drivers decide by this answer whether transactions are possible."""
    hello = await client.admin.command("hello")
    assert hello["setName"]
    assert hello["isWritablePrimary"]
    assert hello["logicalSessionTimeoutMinutes"] > 0
    assert hello["primary"] in hello["hosts"]


# ---------------------------------------------------------------- transactions
async def test_uncommitted_writes_are_invisible_outside(client: Client, rows: Collection) -> None:
    """A transaction sees its own writes, others see them from its commit on."""
    async with client.start_session() as session, await session.start_transaction():
        await rows.insert_one({"_id": 1}, session=session)
        assert await ids(rows, session) == [1]
        assert await ids(rows) == []
    assert await ids(rows) == [1]


async def test_an_aborted_transaction_leaves_nothing(client: Client, rows: Collection) -> None:
    """Inserts, updates and deletes of an aborted transaction did not happen."""
    await rows.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.insert_one({"_id": 3}, session=session)
        await rows.update_one({"_id": 1}, {"$set": {"n": 9}}, session=session)
        await rows.delete_one({"_id": 2}, session=session)
        assert await ids(rows, session) == [1, 3]
        await session.abort_transaction()
    assert await rows.find({}, sort=[("_id", 1)]).to_list() == [
        {"_id": 1, "n": 1},
        {"_id": 2, "n": 2},
    ]


async def test_the_second_writer_of_a_document_conflicts(client: Client, rows: Collection) -> None:
    """It gets WriteConflict at once, labelled as safe to retry, and the first one commits."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as first, client.start_session() as second:
        await first.start_transaction()
        await second.start_transaction()
        await rows.update_one({"_id": 1}, {"$set": {"n": 1}}, session=first)
        with pytest.raises(OperationFailure) as caught:
            await rows.update_one({"_id": 1}, {"$set": {"n": 2}}, session=second)
        assert caught.value.code == WRITE_CONFLICT
        assert caught.value.has_error_label(TRANSIENT)
        await first.commit_transaction()
        await second.abort_transaction()
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_write_to_what_changed_since_the_snapshot_conflicts(
    client: Client, rows: Collection
) -> None:
    """A transaction does not overwrite what it has not seen."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as session:
        await session.start_transaction()
        assert await rows.find_one({"_id": 1}, session=session) == {"_id": 1, "n": 0}
        await rows.update_one({"_id": 1}, {"$set": {"n": 1}})
        with pytest.raises(OperationFailure) as caught:
            await rows.update_one({"_id": 1}, {"$set": {"n": 2}}, session=session)
        assert caught.value.code == WRITE_CONFLICT
        assert caught.value.has_error_label(TRANSIENT)
        await session.abort_transaction()
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_concurrent_increments_are_never_lost(client: Client, rows: Collection) -> None:
    """Twenty transactions at once that read and write one counter add exactly twenty."""
    await rows.insert_one({"_id": "counter", "n": 0})

    async def increment() -> None:
        async with client.start_session() as session:
            await session.with_transaction(lambda session: add_one(rows, session))

    await asyncio.gather(*(increment() for _ in range(20)))
    assert await rows.find_one({"_id": "counter"}) == {"_id": "counter", "n": 20}


async def test_a_duplicate_in_a_transaction_leaves_nothing(
    client: Client, rows: Collection
) -> None:
    """The error is 11000, and what the transaction wrote before is gone."""
    await rows.insert_one({"_id": 1})
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.insert_one({"_id": 2}, session=session)
        with pytest.raises(DuplicateKeyError) as caught:
            await rows.insert_one({"_id": 1}, session=session)
        assert caught.value.code == 11000
        assert not caught.value.has_error_label(TRANSIENT)
        await session.abort_transaction()
    assert await ids(rows) == [1]


async def test_an_error_ends_the_transaction(client: Client, rows: Collection) -> None:
    """After an error the transaction is unknown: NoSuchTransaction, and nothing was written."""
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.insert_one({"_id": 1}, session=session)
        with pytest.raises(DuplicateKeyError):
            await rows.insert_one({"_id": 1}, session=session)
        with pytest.raises(OperationFailure) as caught:
            await rows.insert_one({"_id": 2}, session=session)
        assert caught.value.code == 251
        assert caught.value.has_error_label(TRANSIENT)
        await session.abort_transaction()
    assert await ids(rows) == []


async def test_a_repeated_commit_succeeds_and_applies_once(
    client: Client, rows: Collection
) -> None:
    """A driver that lost the answer commits the same number again."""
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.insert_one({"_id": 1, "n": 0}, session=session)
        await rows.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        await session.commit_transaction()
        await session.commit_transaction()
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_transaction_that_was_aborted_cannot_be_committed(
    client: Client, rows: Collection
) -> None:
    """The commit says NoSuchTransaction instead of success."""
    number = {"txnNumber": Int64(1), "autocommit": False}
    insert = {"insert": "rows", "documents": [{"_id": 1}], "startTransaction": True}
    async with client.start_session() as session:
        await rows.database.command({**insert, **number}, session=session)
        await client.admin.command({"abortTransaction": 1, **number}, session=session)
        with pytest.raises(OperationFailure) as caught:
            await client.admin.command({"commitTransaction": 1, **number}, session=session)
    assert caught.value.code == 251
    assert await ids(rows) == []


async def test_the_snapshot_of_a_transaction_is_stable(client: Client, rows: Collection) -> None:
    """Later commits of others are not seen, neither by find, nor by count, nor by aggregate."""
    await rows.insert_one({"_id": 1})
    async with client.start_session() as session, await session.start_transaction():
        assert await ids(rows, session) == [1]
        await rows.insert_one({"_id": 2})
        assert await ids(rows, session) == [1]
        assert await rows.count_documents({}, session=session) == 1
        grouped = await rows.aggregate(
            [{"$group": {"_id": None, "n": {"$sum": 1}}}], session=session
        )
        assert await grouped.to_list() == [{"_id": None, "n": 1}]
    assert await ids(rows) == [1, 2]


async def test_a_cursor_of_a_transaction_stays_in_its_snapshot(
    client: Client, rows: Collection
) -> None:
    """Batches fetched after another one's commit come from the same snapshot."""
    await rows.insert_many([{"_id": number} for number in range(10)])
    async with client.start_session() as session, await session.start_transaction():
        cursor = rows.find({}, sort=[("_id", 1)], batch_size=4, session=session)
        first = await cursor.next()
        await rows.delete_many({})
        rest = [document["_id"] async for document in cursor]
    assert [first["_id"], *rest] == list(range(10))


async def test_a_lost_client_takes_its_transaction_with_it(rows: Collection) -> None:
    """What it locked is free at once, what it wrote is gone."""
    await rows.insert_one({"_id": 1, "n": 0})
    lost = AsyncMongoClient[Document](URL)
    session = lost.start_session()
    await session.start_transaction()
    theirs = lost[rows.database.name][rows.name]
    await theirs.update_one({"_id": 1}, {"$set": {"n": 9}}, session=session)
    await lost.close()  # without abortTransaction
    async with asyncio.timeout(5):
        await rows.update_one({"_id": 1}, {"$inc": {"n": 1}})
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_cancelled_operation_leaves_no_lock(client: Client, rows: Collection) -> None:
    """Who waits for a document and gives up blocks nobody; its write happened, or did not."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
        waiting = asyncio.create_task(rows.update_one({"_id": 1}, {"$set": {"n": 2}}))
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.2)
        await session.commit_transaction()
    async with asyncio.timeout(5):
        await rows.update_one({"_id": 1}, {"$inc": {"n": 10}})
    found = await rows.find_one({"_id": 1})
    assert found is not None
    assert found["n"] in {11, 12}


# ---------------------------------------------------------------- retryable writes
@pytest.mark.parametrize("verb", ["insert", "update", "delete", "findAndModify"])
async def test_a_repeated_write_is_applied_once(
    client: Client, rows: Collection, verb: str
) -> None:
    """The same session and number give the same answer and change nothing more."""
    await rows.insert_many([{"_id": number, "n": 0} for number in (1, 2)])
    increment = {"$inc": {"n": 1}}
    requests: dict[str, Document] = {
        "insert": {"insert": "rows", "documents": [{"_id": 3}]},
        "update": {"update": "rows", "updates": [{"q": {"_id": 1}, "u": increment}]},
        "delete": {"delete": "rows", "deletes": [{"q": {}, "limit": 1}]},
        "findAndModify": {"findAndModify": "rows", "query": {"_id": 1}, "update": increment},
    }
    request = {**requests[verb], "txnNumber": Int64(1)}
    async with client.start_session() as session:
        first = await rows.database.command(request, session=session)
        once = await rows.find({}, sort=[("_id", 1)]).to_list()
        second = await rows.database.command(request, session=session)
    assert first.get("n", 1) == second.get("n", 1) == 1
    assert await rows.find({}, sort=[("_id", 1)]).to_list() == once


async def test_a_write_without_effect_inside_is_not_repeated_by_the_server(
    client: Client, rows: Collection
) -> None:
    """In a transaction the number names the transaction: each statement of it is applied."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as session, await session.start_transaction():
        for _ in range(3):
            await rows.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 3}


# ---------------------------------------------------------------- connections
async def test_a_closed_connection_ends_its_transaction(rows: Collection) -> None:
    """A client that dies without a word, even while a statement waits, leaves nothing behind."""
    await rows.insert_many([{"_id": 1, "n": 0}, {"_id": 2, "n": 0}])
    first, second = await RawConnection.open(), await RawConnection.open()
    begin = {"$db": rows.database.name, "txnNumber": Int64(1), "autocommit": False}
    change = {"update": "rows", "updates": [{"q": {"_id": 1}, "u": {"$set": {"n": 9}}}]}
    one = {**change, **begin, "startTransaction": True, "lsid": {"id": Binary(b"1" * 16, 4)}}
    other = {
        "insert": "rows",
        "documents": [{"_id": number} for number in range(3, 20_000)],
        **begin,
        "startTransaction": True,
        "lsid": {"id": Binary(b"2" * 16, 4)},
    }
    assert (await first.ask(one))["ok"] == 1
    second.send(other)
    await first.close()
    await second.close()  # in the middle of its insert
    async with asyncio.timeout(10):
        await rows.update_one({"_id": 1}, {"$inc": {"n": 1}})
        await rows.insert_one({"_id": 3})
    assert await rows.find({}, sort=[("_id", 1)]).to_list() == [
        {"_id": 1, "n": 1},
        {"_id": 2, "n": 0},
        {"_id": 3},
    ]


async def test_a_transaction_goes_on_over_another_connection(rows: Collection) -> None:
    """A driver that lost one connection commits over the next, and twice if it must."""
    first = await RawConnection.open()
    fields = {"txnNumber": Int64(1), "autocommit": False, "lsid": {"id": Binary(b"3" * 16, 4)}}
    insert = {"insert": "rows", "documents": [{"_id": 1}], "startTransaction": True}
    assert (await first.ask({**insert, **fields, "$db": rows.database.name}))["ok"] == 1
    second = await RawConnection.open()
    await first.close()
    for _ in range(2):
        assert (await second.ask({"commitTransaction": 1, **fields, "$db": "admin"}))["ok"] == 1
    await second.close()
    assert await ids(rows) == [1]


async def test_an_ended_session_ends_its_transaction(client: Client, rows: Collection) -> None:
    """EndSessions rolls back: the document is free for others."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.update_one({"_id": 1}, {"$set": {"n": 9}}, session=session)
        await client.admin.command({"endSessions": [session.session_id]})
        await rows.update_one({"_id": 1}, {"$inc": {"n": 1}})  # else an error: it waits for a lock
        with pytest.raises(OperationFailure) as caught:
            await session.commit_transaction()
        assert caught.value.code == 251
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_what_mongodb_refuses_in_a_transaction_is_refused(
    client: Client, rows: Collection
) -> None:
    """The code is OperationNotSupportedInTransaction."""
    async with client.start_session() as session:
        await session.start_transaction()
        with pytest.raises(OperationFailure) as caught:
            await rows.database.command("count", "rows", session=session)
        assert caught.value.code == 263
        await session.abort_transaction()


async def test_seventy_transactions_at_once_all_commit(client: Client, rows: Collection) -> None:
    """More than the server has connections of its own: they wait, none is lost."""

    async def insert(number: int) -> None:
        async with client.start_session() as session, await session.start_transaction():
            await rows.insert_one({"_id": number}, session=session)
            await rows.insert_one({"_id": -number}, session=session)

    await asyncio.gather(*(insert(number) for number in range(1, 71)))
    assert await rows.count_documents({}) == 140


async def test_one_of_many_takes_a_key_at_once(database: Database) -> None:
    """Fifty inserts of one unique key leave one document, and no insert waits for seconds."""
    rows = database["keys"]
    for field in ("a", "b", "c"):
        await rows.create_index(field, unique=True)

    async def take(number: int) -> bool:
        try:
            await rows.insert_one({"_id": number, "a": 1, "b": 1, "c": 1})
        except DuplicateKeyError:
            return False
        return True

    async with asyncio.timeout(20):
        taken = await asyncio.gather(*(take(number) for number in range(50)))
    assert sum(taken) == 1
    assert await ids(rows) == [taken.index(True)]
