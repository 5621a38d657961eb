"""What the MongoDB adapter does by itself, without a server."""

from __future__ import annotations

import asyncio
import gc
import socket
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pytest
from pymongo.errors import BulkWriteError

from healthstore.abc.url import BackendURL
from healthstore.adapters.mongo import MongoAdapter, connect, writes
from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.options import read_url
from healthstore.adapters.mongo.session import Session
from healthstore.errors import (
    CapabilityError,
    Condition,
    LifecycleError,
    Outcome,
    ReadOnlyError,
    SerializationError,
    UnavailableError,
)
from healthstore.model.ops import Delete, Get, Insert, Op, Patch, Replace
from healthstore.model.schema import Collection, Field, Reference
from healthstore.model.values import Document, FieldType, Kind

CHILDREN = Collection(
    "children",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("parent", FieldType(Kind.UUID), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=6, places=2), nullable=True),
    ),
    references=(Reference("parent", "parents"),),
)
PARENTS = Collection("parents", CHILDREN.fields[:2])
ONE, TWO = UUID(int=1), UUID(int=2)
# Whatever a refused operation would do with it fails.
NO_SERVER = Session(cast(Any, None))


def parent(identity: UUID) -> Document:
    """Return a document of the collection that refers to nothing."""
    return {"id": identity, "version": 1}


def child(identity: UUID) -> Document:
    """Return a document of the collection with a reference."""
    return {**parent(identity), "parent": None, "weight": Decimal("1.00")}


@pytest.mark.parametrize(
    "op",
    [
        Insert(PARENTS, (parent(ONE), parent(TWO))),
        Replace(PARENTS, (parent(ONE), parent(TWO))),
        Patch(PARENTS, (ONE, TWO), sets=(("version", 2),)),
        Delete(PARENTS, (ONE, TWO)),
        Insert(CHILDREN, (child(ONE),)),
        Replace(CHILDREN, (child(ONE),)),
        Patch(CHILDREN, (ONE,), sets=(("parent", TWO),)),
    ],
    ids=lambda op: f"{type(op).__name__} {op.collection.name}",
)
async def test_a_standalone_server_is_not_asked_for_the_impossible(op: Op[object]) -> None:
    """Without transactions, writes of several documents and of references never begin."""
    adapter = connect(BackendURL.parse("mongodb://localhost/db"), "mongodb")
    with pytest.raises(CapabilityError) as error:
        await adapter.run(NO_SERVER, op)
    assert error.value.hint


async def test_whatever_stops_one_of_several_others_may_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after a conflict an insert that is not atomic must not be repeated as it was."""

    async def refused(*_: object) -> None:
        raise BulkWriteError({"writeErrors": [{"index": 1, "code": 112}], "nInserted": 1})

    monkeypatch.setattr(writes, "insert", refused)
    adapter = MongoAdapter("mongodb", read_url(BackendURL.parse("mongodb://localhost/db")))
    adapter._codecs[PARENTS] = Codec(PARENTS)
    with pytest.raises(SerializationError) as error:
        await adapter.run(NO_SERVER, Insert(PARENTS, (parent(ONE), parent(TWO)), atomic=False))
    assert error.value.outcome is Outcome.UNKNOWN


async def test_a_read_only_session_refuses_writes() -> None:
    """The refusal comes before any I/O."""
    adapter = connect(BackendURL.parse("mongodb://localhost/db"), "mongodb")
    with pytest.raises(ReadOnlyError):
        await adapter.run(Session(cast(Any, None), read_only=True), Delete(PARENTS, (ONE,)))


async def test_a_closed_adapter_says_so() -> None:
    """Nothing is sent before open()."""
    adapter = connect(BackendURL.parse("mongodb://localhost/db"), "mongodb")
    with pytest.raises(LifecycleError):
        await adapter.ping()


class Swallowing(MongoAdapter):
    """An adapter whose driver drops a cancellation, as asyncio.wait_for may."""

    async def get(self, session: Session, op: Get) -> tuple[Document | None, ...]:
        """Answer although the task was cancelled."""
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return (None,)
        return (None,)


async def test_a_cancellation_is_never_lost() -> None:
    """A task that was cancelled ends, also when the driver returned a result all the same."""
    adapter = Swallowing("mongodb", read_url(BackendURL.parse("mongodb://localhost/db")))
    task = asyncio.create_task(adapter.run(NO_SERVER, Get(PARENTS, (ONE,))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_connection_is_closed() -> None:
    """A task that is cancelled while a connection is being opened leaves no socket behind."""
    writers: list[asyncio.StreamWriter] = []

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()  # a hello that is never answered

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = BackendURL.parse(
        f"mongodb://127.0.0.1:{port}/db?directConnection=true&connect_timeout=0.2"
    )
    adapter = connect(url, "mongodb")
    for delay in (0.0, 0.001, 0.05):
        task = asyncio.create_task(adapter.open())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait({task})
    with pytest.raises(UnavailableError):
        await adapter.open()
    server.close()
    for writer in writers:
        writer.close()
    async with asyncio.timeout(10):
        # Late openings end by the timeout of the driver.
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - its tasks set no event
            await asyncio.sleep(0.02)
    gc.collect()  # a socket that is still open is a ResourceWarning, which fails the test


async def test_an_unreachable_server_is_reported_in_time() -> None:
    """`connect_timeout` bounds the search for a server, and no text shows the password."""
    url = BackendURL.parse("mongodb://ann:hidden@127.0.0.1:1/db?connect_timeout=0.1")
    adapter = connect(url, "mongodb")
    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError) as error:
            await adapter.open()
    assert "hidden" not in str(error.value)


async def test_a_server_that_refuses_is_not_waited_for() -> None:
    """Opening fails when it is certain, and not after all the time that it has."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        backend = connect(
            BackendURL.parse(f"mongodb://127.0.0.1:{port}/x?connect_timeout=30"), "mongodb"
        )
        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError, match="no server could be reached") as error:
                await backend.open()
    assert error.value.condition is Condition.DOWN
