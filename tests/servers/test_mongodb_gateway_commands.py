"""Commands of the replica set that the MongoDB adapter builds on: cursors, errors, schema, data."""

from __future__ import annotations

import asyncio

import pytest
from bson import Decimal128, Int64
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WriteError,
)
from tests.servers.replica_set import Client, Collection, Database, Document, ids, needs_server

pytestmark = needs_server


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
