"""The replica set of the tests keeps the promises that the MongoDB adapter builds on.

`HEALTHSTORE_TEST_MONGODB_RS_URL` names the server: our gateway, or a real MongoDB, of which the
same holds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from bson import Decimal128, Int64
from pymongo import ASCENDING, AsyncMongoClient, ReturnDocument, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WriteError,
)

URL = os.environ.get("HEALTHSTORE_TEST_MONGODB_RS_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="HEALTHSTORE_TEST_MONGODB_RS_URL is not set")

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]

WRITE_CONFLICT = 112
TRANSIENT = "TransientTransactionError"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Connect."""
    async with AsyncMongoClient[Document](URL) as client:
        yield client


@pytest.fixture
async def database(client: Client) -> AsyncIterator[Database]:
    """Lend a database that did not exist before and is dropped afterwards."""
    name = f"gateway_{uuid4().hex}"
    yield client[name]
    await client.drop_database(name)


@pytest.fixture
async def rows(database: Database) -> Collection:
    """Lend an empty collection."""
    return await database.create_collection("rows")


async def ids(rows: Collection, session: AsyncClientSession | None = None) -> list[Any]:
    """Return the ids of all documents, in order."""
    found = rows.find({}, {"_id": 1}, sort=[("_id", ASCENDING)], session=session)
    return [document["_id"] for document in await found.to_list()]


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


# ---------------------------------------------------------------- cursors
async def test_a_cursor_returns_every_document_once_over_many_batches(rows: Collection) -> None:
    """Sorted or not, filtered or aggregated."""
    await rows.insert_many([{"_id": number, "text": "x" * 100} for number in range(1000)])
    expected = list(range(1000))
    plain = await rows.find({}, batch_size=97).to_list()
    assert sorted(document["_id"] for document in plain) == expected
    ordered = await rows.find({}, sort=[("_id", -1)], batch_size=97).to_list()
    assert [document["_id"] for document in ordered] == expected[::-1]
    pipeline: list[Document] = [{"$match": {"_id": {"$gte": 500}}}, {"$sort": {"_id": 1}}]
    grouped = await (await rows.aggregate(pipeline, batchSize=97)).to_list()
    assert [document["_id"] for document in grouped] == expected[500:]


async def test_a_killed_cursor_is_gone(rows: Collection) -> None:
    """A batch asked for after killCursors is CursorNotFound."""
    await rows.insert_many([{"_id": number} for number in range(100)])
    database = rows.database
    page = await database.command({"find": "rows", "batchSize": 10, "sort": {"_id": 1}})
    cursor = Int64(page["cursor"]["id"])
    assert cursor
    killed = await database.command({"killCursors": "rows", "cursors": [cursor]})
    assert killed["cursorsKilled"] == [cursor]
    with pytest.raises(OperationFailure) as caught:
        await database.command({"getMore": cursor, "collection": "rows"})
    assert caught.value.code == 43


async def test_many_open_cursors_do_not_starve_other_clients(rows: Collection) -> None:
    """Cursors that nobody finishes leave room for the next operation."""
    await rows.insert_many([{"_id": number, "n": number % 7} for number in range(100)])
    cursors = [rows.find({}, sort=[("n", 1)], batch_size=2) for _ in range(60)]
    for cursor in cursors:
        await cursor.next()
    async with asyncio.timeout(5):
        assert await rows.count_documents({}) == 100
    for cursor in cursors:
        await cursor.close()


# ---------------------------------------------------------------- errors
async def test_a_duplicate_names_its_document_in_a_batch(rows: Collection) -> None:
    """An ordered batch stops there, an unordered one goes on; both say which one it was."""
    await rows.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError) as ordered:
        await rows.insert_many([{"_id": 0}, {"_id": 1}, {"_id": 2}])
    errors = ordered.value.details["writeErrors"]
    assert [(error["index"], error["code"]) for error in errors] == [(1, 11000)]
    assert await ids(rows) == [0, 1]
    with pytest.raises(BulkWriteError) as unordered:
        await rows.insert_many([{"_id": 1}, {"_id": 3}, {"_id": 0}], ordered=False)
    errors = unordered.value.details["writeErrors"]
    assert [(error["index"], error["code"]) for error in errors] == [(0, 11000), (2, 11000)]
    assert await ids(rows) == [0, 1, 3]


async def test_an_unknown_command_is_refused(database: Database) -> None:
    """The code is CommandNotFound."""
    with pytest.raises(OperationFailure) as caught:
        await database.command("noSuchCommand")
    assert caught.value.code == 59


@pytest.mark.parametrize(
    ("filter_", "codes"),
    [
        ({"a": {"$noSuchOperator": 1}}, {2}),
        ({"$and": 1}, {2, 9}),
        ({"a": {"$in": 1}}, {2}),
    ],
)
async def test_a_wrong_filter_is_refused(
    rows: Collection, filter_: Document, codes: set[int]
) -> None:
    """The code is BadValue or FailedToParse."""
    await rows.insert_one({"a": 1})
    with pytest.raises(OperationFailure) as caught:
        await rows.find(filter_).to_list()
    assert caught.value.code in codes


async def test_a_change_of_the_id_is_refused(rows: Collection) -> None:
    """The code is ImmutableField."""
    await rows.insert_one({"_id": 1})
    with pytest.raises(WriteError) as caught:
        await rows.update_one({"_id": 1}, {"$set": {"_id": 2}})
    assert caught.value.code == 66


async def test_a_second_collection_of_one_name_is_refused(rows: Collection) -> None:
    """The code is NamespaceExists."""
    with pytest.raises((CollectionInvalid, OperationFailure)):
        await rows.database.create_collection("rows")
    with pytest.raises(OperationFailure) as caught:
        await rows.database.command({"create": "rows", "capped": False, "validator": {"a": 1}})
    assert caught.value.code == 48


async def test_a_slow_operation_ends_at_its_time_limit(client: Client, rows: Collection) -> None:
    """A write that waits for a document longer than maxTimeMS is MaxTimeMSExpired."""
    await rows.insert_one({"_id": 1, "n": 0})
    async with client.start_session() as session:
        await session.start_transaction()
        await rows.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
        with pytest.raises(ExecutionTimeout) as caught:
            await rows.find_one_and_update({"_id": 1}, {"$set": {"n": 2}}, maxTimeMS=200)
        assert caught.value.code == 50
        await session.commit_transaction()
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "n": 1}
    await rows.update_one({"_id": 1}, {"$set": {"n": 3}})  # no limit is left behind


# ---------------------------------------------------------------- schema
async def test_a_unique_index_holds_when_its_creation_returns(rows: Collection) -> None:
    """Not one duplicate gets in after createIndexes answered."""
    await rows.create_index("email", unique=True, name="one_email")
    await rows.insert_one({"email": "ann"})
    with pytest.raises(DuplicateKeyError) as caught:
        await rows.insert_one({"email": "ann"})
    assert "one_email" in str(caught.value)


async def test_a_unique_index_over_duplicates_is_refused(rows: Collection) -> None:
    """The code is DuplicateKey, and no index is left."""
    await rows.insert_many([{"email": "ann"}, {"email": "ann"}])
    with pytest.raises(OperationFailure) as caught:
        await rows.create_index("email", unique=True)
    assert caught.value.code == 11000
    assert list(await rows.index_information()) == ["_id_"]


async def test_an_index_is_listed_until_it_is_dropped(rows: Collection) -> None:
    """ListIndexes tells its key, name and uniqueness."""
    await rows.create_index([("a", 1), ("b", -1)], unique=True, name="a_b")
    assert (await rows.index_information())["a_b"]["key"] == [("a", 1), ("b", -1)]
    assert (await rows.index_information())["a_b"]["unique"]
    await rows.drop_index("a_b")
    assert list(await rows.index_information()) == ["_id_"]


async def test_a_validator_holds_from_collmod_on(rows: Collection) -> None:
    """Insert and update of a wrong document are DocumentValidationFailure."""
    await rows.insert_one({"_id": 1, "n": 1})
    schema = {"$jsonSchema": {"required": ["n"], "properties": {"n": {"bsonType": "int"}}}}
    await rows.database.command({"collMod": "rows", "validator": schema})
    with pytest.raises(WriteError) as inserted:
        await rows.insert_one({"_id": 2, "n": "text"})
    with pytest.raises(WriteError) as updated:
        await rows.update_one({"_id": 1}, {"$set": {"n": "text"}})
    with pytest.raises(OperationFailure) as modified:
        await rows.find_one_and_update({"_id": 1}, {"$set": {"n": "text"}})
    codes = {inserted.value.code, updated.value.code, modified.value.code}
    assert codes == {121}
    assert await rows.find().to_list() == [{"_id": 1, "n": 1}]
    listed = [item async for item in await rows.database.list_collections()]
    assert listed[0]["options"]["validator"] == schema


async def test_a_validator_holds_from_create_on(database: Database) -> None:
    """Create with a validator enforces it at once."""
    rows = await database.create_collection("strict", validator={"n": {"$type": "int"}})
    with pytest.raises(WriteError) as caught:
        await rows.insert_one({"n": "text"})
    assert caught.value.code == 121


async def test_collections_and_databases_are_listed_and_dropped(
    client: Client, database: Database
) -> None:
    """Drop, rename and dropDatabase do what they say."""
    await database["old"].insert_one({"_id": 1})
    await database["old"].rename("new")
    assert await database.list_collection_names() == ["new"]
    assert await ids(database["new"]) == [1]
    assert database.name in await client.list_database_names()
    await database.drop_collection("new")
    assert await database.list_collection_names() == []
    await client.drop_database(database.name)
    assert database.name not in await client.list_database_names()


# ---------------------------------------------------------------- reads and writes
async def test_values_come_back_as_they_were_written(rows: Collection) -> None:
    """Numbers keep their type and every digit, text every code point, keys their characters."""
    document = {
        "_id": 1,
        "long": Int64(-(2**63)),
        "decimal": Decimal128("12345678901234567890.12345678"),
        "double": -0.0,
        "text": "a\0b\U0001f600",
        "a.b": {"$c": [None, True, b"\0\xff"]},
    }
    await rows.insert_one(document)
    found = await rows.find_one({"_id": 1})
    assert found == document
    assert isinstance(found["long"], Int64)
    assert str(found["double"]) == "-0.0"


async def test_reads_agree(rows: Collection) -> None:
    """Find, count, distinct and aggregate see the same documents."""
    await rows.insert_many([{"_id": number, "kind": number % 3} for number in range(30)])
    assert await rows.count_documents({"kind": 1}) == 10
    assert await rows.estimated_document_count() == 30
    assert sorted(await rows.distinct("kind")) == [0, 1, 2]
    assert len(await rows.find({"kind": 1}).to_list()) == 10
    skipped = await rows.find({}, sort=[("_id", 1)], skip=5, limit=2).to_list()
    assert [document["_id"] for document in skipped] == [5, 6]
    plan = await rows.find({"_id": 1}).explain()
    assert plan["ok"] == 1


async def test_find_and_modify_returns_before_or_after(rows: Collection) -> None:
    """The document of the chosen moment, or None where nothing matches."""
    await rows.insert_one({"_id": 1, "n": 1})
    change = {"$inc": {"n": 1}}
    assert await rows.find_one_and_update({"_id": 1}, change) == {"_id": 1, "n": 1}
    after = await rows.find_one_and_update({"_id": 1}, change, return_document=ReturnDocument.AFTER)
    assert after == {"_id": 1, "n": 3}
    assert await rows.find_one_and_update({"_id": 2}, change) is None
    assert await rows.find_one_and_delete({"_id": 1}) == {"_id": 1, "n": 3}


async def test_unacknowledged_writes_arrive(rows: Collection) -> None:
    """A write that nobody waits for is applied, and the connection stays usable."""
    silent = rows.with_options(write_concern=WriteConcern(w=0))
    for number in range(20):
        await silent.insert_one({"_id": number})
    async with asyncio.timeout(5):
        while await rows.count_documents({}) < 20:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)


async def test_a_hundred_clients_at_once_are_served(database: Database) -> None:
    """As many operations as a driver's pool has connections run side by side."""
    rows = database["created_by_the_first_of_many"]
    await asyncio.gather(*(rows.insert_one({"_id": number}) for number in range(100)))
    assert await ids(rows) == list(range(100))


async def test_concurrent_upserts_of_one_key_make_one_document(rows: Collection) -> None:
    """Every increment counts, whoever came first."""
    await rows.create_index("key", unique=True)

    async def add() -> None:
        while True:
            try:
                await rows.update_one({"key": "a"}, {"$inc": {"n": 1}}, upsert=True)
            except DuplicateKeyError:
                continue  # MongoDB asks for a retry here
            return

    await asyncio.gather(*(add() for _ in range(50)))
    assert [document["n"] for document in await rows.find().to_list()] == [50]
